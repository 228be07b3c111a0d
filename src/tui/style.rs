//! How a tone looks: the colours of the original. Without colours the same things are told apart by weight.

use crate::view::{Line, Tone};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text;

/// Whether colours may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    pub colour: bool,
}

impl Palette {
    pub fn style(self, tone: Tone) -> Style {
        let plain = Style::new();
        let (coloured, bare) = match tone {
            Tone::Plain => (plain, plain),
            Tone::Dim => (plain.add_modifier(Modifier::DIM), plain.add_modifier(Modifier::DIM)),
            Tone::Strong => (plain.add_modifier(Modifier::BOLD), plain.add_modifier(Modifier::BOLD)),
            Tone::Active => (plain.fg(Color::Green), plain),
            Tone::Slow => (plain.fg(Color::Yellow), plain.add_modifier(Modifier::BOLD)),
            Tone::Draining => (plain.fg(Color::Cyan), plain),
            Tone::Errored => (plain.fg(Color::Red), plain.add_modifier(Modifier::BOLD)),
            Tone::Alarm => (
                plain.fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD),
                plain.add_modifier(Modifier::BOLD | Modifier::REVERSED),
            ),
            Tone::Chart => (plain.fg(Color::Cyan), plain),
        };
        if self.colour { coloured } else { bare }
    }

    pub fn border(self) -> Style {
        if self.colour {
            Style::new().fg(Color::Blue)
        } else {
            Style::new()
        }
    }

    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The line as ratatui has it.
    pub fn line(self, line: &Line) -> text::Line<'_> {
        line.pieces()
            .iter()
            .map(|piece| text::Span::styled(piece.text(), self.style(piece.tone())))
            .collect()
    }
}
