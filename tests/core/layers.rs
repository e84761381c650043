//! Dependencies point one way: no file uses one of a layer above it, and none uses itself by way of others.
//!
//! The layers are those of ARCHITECTURE.md's table, bottom to top.

mod imports;

use imports::{Arrows, arrows};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[test]
fn no_arrow_points_up_and_there_is_no_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let layers = layers(&std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the page"));
    let all = arrows(&root.join("src"));
    assert!(all.len() > 200 && all["node/parts"].contains("hub"), "sources are read");
    let wrong = wrong(&all, &layers);
    assert!(wrong.is_empty(), "use what lies below, or move it there:\n{}", wrong.join("\n"));
}

#[test]
fn what_is_wrong_is_seen() {
    let layers = vec![vec!["below".to_owned()], vec!["above/".to_owned(), "above".to_owned()]];
    let arrows = |list: &[(&str, &str)]| {
        let mut arrows = Arrows::new();
        for (from, to) in list {
            arrows.entry((*from).into()).or_default().insert((*to).into());
            arrows.entry((*to).into()).or_default();
        }
        arrows
    };
    assert_eq!(wrong(&arrows(&[("above", "below"), ("above", "above/part")]), &layers), Vec::<String>::new());
    assert_eq!(wrong(&arrows(&[("below", "above/part")]), &layers), ["up: below -> above/part"]);
    let circle = arrows(&[("above", "above/part"), ("above/part", "above")]);
    assert_eq!(wrong(&circle, &layers), ["circle: above -> above/part", "circle: above/part -> above"]);
    assert_eq!(wrong(&arrows(&[("beside", "below")]), &layers), ["beside is in no layer"]);
}

/// Names of modules in each layer, bottom first; one with a slash at its end stands for all below it.
fn layers(page: &str) -> Vec<Vec<String>> {
    let section = page.split("\n## Layers\n").nth(1).expect("a section of layers");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let names = |row: &str| row.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let layers: Vec<Vec<String>> = rows.map(names).collect();
    assert!(layers.len() > 5, "a table of layers");
    layers
}

/// The layer of a module: that of the longest name that covers it.
fn layer(module: &str, layers: &[Vec<String>]) -> Option<usize> {
    let length = |name: &String| {
        let covers = module == name || name.ends_with('/') && format!("{module}/").starts_with(name.as_str());
        covers.then_some(name.len())
    };
    let best = |(at, names): (usize, &Vec<String>)| names.iter().filter_map(length).max().map(|length| (length, at));
    layers.iter().enumerate().filter_map(best).max().map(|(_, at)| at)
}

fn wrong(arrows: &Arrows, layers: &[Vec<String>]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (from, targets) in arrows {
        let Some(own) = layer(from, layers) else {
            wrong.push(format!("{from} is in no layer"));
            continue;
        };
        let up = targets.iter().filter(|to| layer(to, layers).is_some_and(|other| other > own));
        wrong.extend(up.map(|to| format!("up: {from} -> {to}")));
    }
    let reached: BTreeMap<&String, BTreeSet<&String>> = arrows.keys().map(|from| (from, reach(from, arrows))).collect();
    for (from, targets) in arrows {
        let back = targets.iter().filter(|to| reached.get(to).is_some_and(|reached| reached.contains(from)));
        wrong.extend(back.map(|to| format!("circle: {from} -> {to}")));
    }
    wrong
}

/// All that a module uses, by way of others too.
fn reach<'a>(from: &String, arrows: &'a Arrows) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = arrows[from].iter().collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(arrows.get(module).into_iter().flatten());
        }
    }
    reached
}
