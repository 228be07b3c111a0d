//! Which process is read, and what names the sessions in it: the flags that every command about a worker has. Knows
//! nothing of what is done with them.

use super::{Conflict, values};
use crate::identity::Spec;
use clap::Args;

const SESSION_FROM: &str = "\
Where the session's id stands in the worker. May be given several times: the first that fits wins [default: as the \
packages in use keep it]

A SPEC begins with one of
  NAME                   a contextvar; in quotes, if other characters than
                         letters, digits, _ - : and dots are in its name
  task:name              the name that the program gave to the task
  task:root              the task that nobody waits for, by its name, or by
                         asyncio's number and the coroutine that it runs
  frame:COROUTINE:LOCAL  a local variable of a coroutine (its __qualname__)
                         that the task runs or waits in
and goes on with any of
  .ATTRIBUTE             what the instance stores: in a dictionary, as
                         inline values, in slots; .args of a partial
  [0] [-1]               an item of a tuple or a list; a dict's int key
  [\"key\"]                a dict's key
  [\"prefix\"*]            the first of a dict's keys that begins so
  [?ATTRIBUTE]           the same object, if it has that attribute
  |hex |hex(32)          an int in hexadecimal, with zeros in front
  |strip(\"prefix\")       taken off the front, where it is there
  |address               an object by its class and address

A contextvar's name may have dots: a.b is the contextvar a.b, if there is one, and else the attribute b of a. Text, ints \
and UUIDs are ids; what else a path leads to is refused.";

/// A process that is read, and what names the sessions in it.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Worker")]
pub struct ProcessArguments {
    /// Process to watch; the table takes several [default: the only asyncio worker here, or a choice]
    #[arg(long, value_name = "PID", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Vec<i32>,

    /// Where the session's id stands; several: the first that fits wins [default: as the packages in use keep it]
    #[arg(long, value_name = "SPEC", value_parser = values::spec, long_help = SESSION_FROM)]
    pub session_from: Vec<Spec>,

    /// Where the agent's name stands
    #[arg(long, value_name = "SPEC", value_parser = values::spec)]
    pub agent_from: Vec<Spec>,

    /// Where the tenant's name stands
    #[arg(long, value_name = "SPEC", value_parser = values::spec)]
    pub tenant_from: Vec<Spec>,
}

impl ProcessArguments {
    /// For the commands that are about one worker.
    pub fn of_one(&self) -> Result<(), Conflict> {
        match self.pid.len() {
            0 | 1 => Ok(()),
            _ => Err(Conflict(
                "this command is about one --pid; the table takes several".to_owned(),
            )),
        }
    }
}
