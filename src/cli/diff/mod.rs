//! `otop diff`: two recordings, or two sessions of one, beside each other. Knows nothing of how a difference is found or
//! drawn.

pub mod arguments;
pub mod plan;

use super::error::CliError;
use super::files::{FileError, OutputFile};
use super::output;
use super::record::formats::Format;
use super::replay;
use super::wire::{Profile, Wanted};
use super::worker::Worker;
use crate::analysis::{Of, unlike};
use crate::export::difference::{self, Side};
use crate::model::Origin;
use plan::Comparing;
use std::path::Path;

pub fn diff(wanted: &Comparing) -> Result<(), CliError> {
    let file = match &wanted.output {
        Some((path, may_replace, _)) => Some(OutputFile::open(path, *may_replace)?),
        None => None,
    };
    let [(before_path, before), (after_path, after)] = &wanted.sides;
    let (one, origin) = profile(before_path, before, wanted)?;
    let (other, other_origin) = profile(after_path, after, wanted)?;
    if let Some(why) = unlike(&one, &other) {
        return Err(CliError::Unlike(why));
    }
    // Of two sessions it is what they do that is compared, of two recordings how much.
    let of = if before_path == after_path {
        Of::Itself
    } else {
        Of::Time
    };
    let names = [before_path, after_path].map(|path| path.display().to_string());
    let before = Side {
        name: &names[0],
        profile: &one,
        origin: &origin,
    };
    let after = Side {
        name: &names[1],
        profile: &other,
        origin: &other_origin,
    };
    output::write(&difference::table(before, after, of, wanted.top))?;
    let Some((mut file, (path, _, format))) = file.zip(wanted.output.as_ref()) else {
        return Ok(());
    };
    let bytes = match format {
        Format::Folded => Ok(difference::folded(before, after, of)),
        _ => difference::picture(before, after, of),
    };
    let failed = |error| FileError::Io {
        path: path.clone(),
        error,
    };
    file.add(&bytes.map_err(failed)?)?;
    file.finish()?;
    Ok(())
}

/// A profile of the whole recording.
fn profile(path: &Path, side: &Wanted, wanted: &Comparing) -> Result<(Profile, Origin), CliError> {
    let player = replay::open(path)?;
    let origin = player.origin().clone();
    let hello = player.hello().clone();
    let mut measuring = wanted.measuring.clone();
    wanted.judged.settle(origin.judging.as_ref(), &mut measuring);
    let mut worker = Worker::recorded(hello, player, &measuring);
    replay::take_all(&mut worker);
    Ok((worker.profile(side), origin))
}
