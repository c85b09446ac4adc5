//! Figures of several rounds in which all rows take turns, and their tables.

use super::save::Figures;

/// A column's name, and for each row the figures of all rounds.
pub type Column = (String, Vec<Vec<f64>>);

/// The median.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => figures[n / 2],
        n => f64::midpoint(figures[n / 2 - 1], figures[n / 2]),
    }
}

/// The median of the rounds' ratios. A disturbance of a round affects both.
pub fn beside(rounds: &[f64], base: &[f64]) -> f64 {
    median(rounds.iter().zip(base).map(|(one, base)| one / base).collect())
}

/// The highest over the lowest.
fn spread(figures: &[f64]) -> f64 {
    let most = figures.iter().copied().fold(0.0, f64::max);
    most / figures.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Prints the medians, with ratios to `base`, and adds them to what is saved. A row has its name, and which row its
/// ratios are of.
pub fn table(
    title: &str,
    base: &str,
    rows: &[(&str, Option<usize>)],
    columns: &[Column],
    saved: &mut Figures,
) {
    println!("### {title}\n");
    print!("| |");
    columns.iter().for_each(|(column, _)| print!(" {column} | / {base} |"));
    println!("\n|---|{}", "---|---|".repeat(columns.len()));
    for (at, (row, below)) in rows.iter().enumerate() {
        print!("| {row} |");
        for (column, figures) in columns {
            let figure = median(figures[at].clone());
            saved.add([title, row, column], figure, Some(spread(&figures[at])));
            match below {
                Some(below) => {
                    let ratio = beside(&figures[at], &figures[*below]);
                    saved.add([title, row, &format!("{column} / {base}")], ratio, None);
                    print!(" {figure:.2} | {ratio:.2} |");
                }
                None => print!(" {figure:.2} | - |"),
            }
        }
        println!();
    }
    let spreads =
        columns.iter().flat_map(|(_, rows)| rows).map(|figures| spread(figures)).collect();
    println!("\nHighest over lowest of a cell's rounds, in the middle: {:.2}.\n", median(spreads));
}
