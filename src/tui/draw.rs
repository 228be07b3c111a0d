//! Puts a picture onto a frame: which part of the screen each line goes to. Knows nothing of what the lines say.

use super::style::Palette;
use crate::view::{self, Picture, Row, Sheet};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Cell, Clear, Padding, Paragraph, Table};

/// The widest that the help gets: lines longer than this are hard to read.
const HELP_WIDTH: u16 = 76;

/// Draws the whole screen.
pub fn draw(frame: &mut Frame, picture: &Picture, palette: Palette) {
    let lines = |count: usize| Constraint::Length(u16::try_from(count).unwrap_or(u16::MAX));
    let border = usize::from(picture.has_border);
    let [header, caption, table, detail, footer] = Layout::vertical([
        lines(1 + picture.header.len() + border),
        lines(picture.caption.iter().len()),
        Constraint::Fill(1),
        lines(picture.detail.iter().len()),
        lines(1),
    ])
    .areas(frame.area());

    draw_header(frame, picture, header, palette);
    match &picture.sheet {
        Some(sheet) => draw_sheet(frame, sheet, table, palette),
        None => draw_table(frame, picture, table, palette),
    }
    for (line, area) in [(&picture.caption, caption), (&picture.detail, detail)] {
        if let Some(line) = line {
            frame.render_widget(Paragraph::new(palette.line(line)), area);
        }
    }
    frame.render_widget(Paragraph::new(palette.line(&picture.footer)), footer);
    draw_help(frame, picture, palette);
}

fn draw_header(frame: &mut Frame, picture: &Picture, area: Rect, palette: Palette) {
    let body: Vec<Line> = picture.header.iter().map(|line| palette.line(line)).collect();
    if !picture.has_border {
        let [title, rest] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        frame.render_widget(Paragraph::new(palette.line(&picture.title)), title);
        frame.render_widget(Paragraph::new(body), rest);
        return;
    }
    let mut title = Line::from(Span::styled("─ ", palette.border()));
    title.spans.extend(palette.line(&picture.title).spans);
    title.push_span(" ");
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(palette.border())
        .padding(Padding::horizontal(1))
        .title(title);
    frame.render_widget(Paragraph::new(body).block(block), area);
}

fn draw_table(frame: &mut Frame, picture: &Picture, area: Rect, palette: Palette) {
    let row = |row: &Row| -> ratatui::widgets::Row<'static> {
        let cell = |cell: &view::Piece| Cell::from(Span::styled(cell.text().to_owned(), palette.style(cell.tone())));
        let style = if row.is_selected {
            palette.selected()
        } else {
            Style::new()
        };
        row.cells
            .iter()
            .map(cell)
            .collect::<ratatui::widgets::Row>()
            .style(style)
    };
    let heading = row(&Row {
        cells: picture.table.heading.clone(),
        is_selected: false,
    });
    let widths = picture
        .table
        .columns
        .iter()
        .map(|placed| placed.width.try_into().unwrap_or(u16::MAX));
    let gap_for_nothing = picture
        .nothing
        .iter()
        .map(|_| ratatui::widgets::Row::default().height(1));
    let rows = picture
        .table
        .rows
        .iter()
        .map(row)
        .chain(gap_for_nothing)
        .chain(picture.table.last.iter().map(row));
    let table = Table::new(rows, widths.map(Constraint::Length))
        .column_spacing(u16::try_from(view::GAP).unwrap_or(1))
        .header(heading);
    frame.render_widget(table, area);
    if let (Some(line), true) = (&picture.nothing, area.height > 1) {
        let below_heading = Rect {
            y: area.y + 1,
            height: 1,
            ..area
        };
        frame.render_widget(Paragraph::new(palette.line(line)), below_heading);
    }
}

fn draw_sheet(frame: &mut Frame, sheet: &Sheet, area: Rect, palette: Palette) {
    let line = |(place, line)| {
        let line: Line = palette.line(line);
        match sheet.selected == Some(place) {
            // The whole line, to the right edge.
            true => line.style(palette.selected()),
            false => line,
        }
    };
    let lines: Vec<Line> = sheet.lines.iter().enumerate().map(line).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_help(frame: &mut Frame, picture: &Picture, palette: Palette) {
    let Some(help) = &picture.help else { return };
    let lines: Vec<Line> = help.lines.iter().map(|line| palette.line(line)).collect();
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let area = frame
        .area()
        .centered(Constraint::Max(HELP_WIDTH), Constraint::Max(height));
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(palette.border())
        .padding(Padding::horizontal(1))
        .title(" help ")
        .title_bottom(" ↑ ↓ PgUp PgDn scroll · Esc closes ");
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
