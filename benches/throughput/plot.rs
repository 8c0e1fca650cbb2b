//! Throughput as bars: the share of a direct connection's.

use std::fmt::Write as _;

use crate::report::Report;

const COLOURS: [&str; 6] = [
    "#444444", "#b0a060", "#c07040", "#7090c0", "#2050a0", "#60a060",
];
const BAR: usize = 9;
const HEIGHT: f64 = 120.0;
const LEFT: usize = 40;

/// One row of groups for each load; a group for each protocol and number of clients.
pub fn svg(report: &Report) -> String {
    let cells: Vec<_> = report.cells().collect();
    let places: Vec<&str> = cells.first().map_or(Vec::new(), |(_, lines)| {
        lines.iter().map(|line| line.place).collect()
    });
    let group = BAR * (places.len() + 2);
    let mut loads: Vec<_> = cells.iter().map(|((load, _, _), _)| *load).collect();
    loads.dedup();
    let columns = cells.len() / loads.len().max(1);
    let (width, height) = (
        LEFT + group * columns + 20,
        (HEIGHT as usize + 60) * loads.len() + 30,
    );
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"9\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (row, load) in loads.iter().enumerate() {
        let bottom = (row + 1) as f64 * (HEIGHT + 60.0) - 30.0;
        let _ = writeln!(
            text,
            "<text x=\"4\" y=\"{:.0}\" font-size=\"11\">{load}: share of a direct connection</text>",
            bottom - HEIGHT - 12.0
        );
        for step in 0..=5 {
            let y = bottom - HEIGHT * f64::from(step) / 5.0;
            let share = f64::from(step) / 5.0;
            let _ = writeln!(
                text,
                "<line x1=\"{LEFT}\" x2=\"{width}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/><text x=\"18\" y=\"{:.1}\">{share:.1}</text>",
                y + 3.0
            );
        }
        for (column, ((_, mode, clients), lines)) in cells
            .iter()
            .filter(|((of, _, _), _)| of == load)
            .enumerate()
        {
            let left = LEFT + column * group + BAR;
            for (index, line) in lines.iter().enumerate() {
                let share = line.to_direct.clamp(0.0, 1.15) * HEIGHT;
                let _ = writeln!(
                    text,
                    "<rect x=\"{}\" y=\"{:.1}\" width=\"{}\" height=\"{share:.1}\" fill=\"{}\"><title>{}: {:.2}</title></rect>",
                    left + index * BAR,
                    bottom - share,
                    BAR - 1,
                    COLOURS[index % COLOURS.len()],
                    line.place,
                    line.to_direct
                );
            }
            let _ = writeln!(
                text,
                "<text x=\"{left}\" y=\"{:.1}\">{mode}, {clients}</text>",
                bottom + 12.0
            );
        }
    }
    let y = height - 8;
    for (index, place) in places.iter().enumerate() {
        let x = LEFT + index * (width - LEFT) / places.len();
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"{}\" width=\"8\" height=\"8\" fill=\"{}\"/><text x=\"{}\" y=\"{y}\">{place}</text>",
            y - 8,
            COLOURS[index % COLOURS.len()],
            x + 11
        );
    }
    text + "</svg>\n"
}
