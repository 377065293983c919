//! Where a TPM comes from, drawn.

use crate::chrome::{Place, Section};
use crate::parts;
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use std::collections::BTreeMap;
use vm_inventory::LineageNode;
use vm_inventory::model::VmId;
use vm_inventory::provisioning::TpmAction;

/// Height of a row, and of the box in it.
const ROW: u32 = 74;
const BOX: u32 = 60;
/// How far each generation is moved to the right.
const STEP: u32 = 26;
const WIDTH: u32 = 300;
/// Colours of identities; more of them start again.
const COLOURS: usize = 6;
/// Generations that are moved to the right; later ones stay there.
const DEEPEST: u32 = 12;
/// TPMs on one page; a template can have thousands of instances.
const MOST: usize = 300;

/// One box.
struct Row<'a> {
    node: &'a LineageNode,
    depth: u32,
    /// The row of the TPM that it was made from.
    parent: Option<u32>,
}

pub(crate) async fn show(visitor: Visitor, Path(vm): Path<String>) -> Result<Response, Refusal> {
    let (vm, tree, there) = visitor
        .look(move |scoped| {
            let vm = scoped.vm(&vm)?;
            let tree = scoped.lineage(&vm.id.to_string())?;
            let there: Vec<VmId> = scoped.vms()?.iter().map(|vm| vm.id).collect();
            Ok((vm, tree, there))
        })
        .await?;
    let all = tree.len();
    let tree = nearest(tree, vm.id);
    let address = format!("/ui/vms/{}", vm.id);
    let above = [("Inventory", "/ui/"), (vm.name.as_str(), address.as_str())];
    let body = html! {
        h1 { "Lineage of " (vm.name) }
        p.lead { "Boxes with one key number have one endorsement key: to a verifier they are one machine." }
        @if tree.is_empty() { section.card { (parts::empty("It has no lineage.", "Only TPMs have one.")) } }
        @else {
            @if tree.len() < all {
                p { (tree.len()) " of " (all) " TPMs are shown: the first ones, and those that this one comes from. " code { "vtpm vm lineage " (vm.id) } " lists them all." }
            }
            section.card aria-labelledby="graph" { h2 #graph { "Graph" } (graph(&tree, vm.id, &there)) }
            section.card aria-labelledby="table" { h2 #table { "The same in words" } (words(&tree)) }
        }
    };
    Ok(visitor.page("Lineage", Place::below(Section::Inventory, &above), &body))
}

/// As much of a tree as a page shows: its beginning, and the way to this TPM.
fn nearest(tree: Vec<LineageNode>, this: VmId) -> Vec<LineageNode> {
    if tree.len() <= MOST {
        return tree;
    }
    let mut way: Vec<VmId> = Vec::new();
    for node in &tree {
        way.truncate(usize::try_from(node.depth).unwrap_or(usize::MAX));
        way.push(node.tpm.vm);
        if node.tpm.vm == this {
            break;
        }
    }
    let shown = tree.into_iter().enumerate();
    shown
        .filter(|(number, node)| *number < MOST || way.contains(&node.tpm.vm))
        .map(|(_, node)| node)
        .collect()
}

/// The tree from top to bottom, each box below what it was made from.
fn rows(tree: &[LineageNode]) -> Vec<Row<'_>> {
    // The rows on the way down to the one that comes next.
    let mut way: Vec<u32> = Vec::new();
    (0u32..)
        .zip(tree)
        .map(|(own, node)| {
            way.truncate(usize::try_from(node.depth).unwrap_or(usize::MAX));
            let parent = way.last().copied();
            way.push(own);
            Row {
                node,
                depth: node.depth.min(DEEPEST),
                parent,
            }
        })
        .collect()
}

fn graph(tree: &[LineageNode], this: VmId, there: &[VmId]) -> Markup {
    let rows = rows(tree);
    let deepest = rows.iter().map(|row| row.depth).max().unwrap_or(0);
    let width = WIDTH + STEP * deepest + 4;
    let height = ROW.saturating_mul(u32::try_from(rows.len()).unwrap_or(u32::MAX));
    let numbers = key_numbers(tree);
    let place = |row: u32, depth: u32| (2 + STEP * depth, 4 + ROW.saturating_mul(row));
    let depth_of = |row: u32| {
        let row = usize::try_from(row).ok().and_then(|row| rows.get(row));
        row.map_or(0, |row| row.depth)
    };
    html! {
        div.scroll role="region" aria-label="Lineage graph" tabindex="0" {
            svg.lineage.deep[deepest > 4] viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) role="group" aria-label="Each TPM below the one that it was made from" {
                @for (number, row) in (0u32..).zip(&rows) {
                    @if let Some(parent) = row.parent {
                        @let (px, py) = place(parent, depth_of(parent));
                        @let (x, y) = place(number, row.depth);
                        path.edge d={ "M" (px + 12) " " (py + BOX) " V" (y + BOX / 2) " H" (x) } {}
                    }
                }
                @for (number, row) in (0u32..).zip(&rows) {
                    @let (x, y) = place(number, row.depth);
                    @let tpm = &row.node.tpm;
                    @let number = tpm.ek_name.as_deref().and_then(|key| numbers.get(key)).copied();
                    @let colour = number.unwrap_or(1).saturating_sub(1) % COLOURS;
                    @let drawn = html! {
                        rect.box.this[tpm.vm == this].ended[tpm.ended.is_some()] x=(x) y=(y) width=(WIDTH) height=(BOX) rx="8" {}
                        rect.{ "identity-" (colour) } x=(x) y=(y) width="8" height=(BOX) rx="4" {}
                        text.name x=(x + 18) y=(y + 20) { (cut(tpm.name.as_str(), 24)) }
                        @if let Some(number) = number { text.soft x=(x + WIDTH - 10) y=(y + 20) text-anchor="end" { "key " (number) } }
                        text.soft x=(x + 18) y=(y + 37) { (origin(row.node)) }
                        text.soft x=(x + 18) y=(y + 52) { (parts::words(&tpm.operation)) @if tpm.ended.is_some() { ", gone" } }
                    };
                    @if there.contains(&tpm.vm) { a href={ "/ui/vms/" (tpm.vm) } aria-label={ (tpm.name) ", " (origin(row.node)) } { (drawn) } }
                    @else { g { (drawn) } }
                }
            }
        }
    }
}

fn origin(node: &LineageNode) -> String {
    let how = match node.tpm.action {
        Some(TpmAction::New) | None => "a new TPM",
        Some(TpmAction::Copy) => "a copy",
        Some(TpmAction::Replace) => "a new TPM instead of that",
        Some(TpmAction::Remove) => "removed",
    };
    match &node.tpm.source {
        Some(source) => format!("{how} of {}", cut(source.name.as_str(), 16)),
        None => how.to_owned(),
    }
}

/// A number for each endorsement key, from 1 on, in the order in which they came.
fn key_numbers(tree: &[LineageNode]) -> BTreeMap<&str, usize> {
    let mut numbers = BTreeMap::new();
    for key in tree.iter().filter_map(|node| node.tpm.ek_name.as_deref()) {
        let next = numbers.len() + 1;
        numbers.entry(key).or_insert(next);
    }
    numbers
}

/// As much of a name as a box has room for.
fn cut(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn words(tree: &[LineageNode]) -> Markup {
    let numbers = key_numbers(tree);
    let rows = html! {
        @for row in rows(tree) {
            @let tpm = &row.node.tpm;
            tr {
                td { (tpm.name) }
                td { @if let Some(action) = tpm.action { (parts::action(action)) } }
                td { @if let Some(source) = &tpm.source { (source.name) } }
                td { (parts::words(&tpm.operation)) }
                td { (parts::moment(tpm.at)) }
                td { @match tpm.ended { Some(at) => (parts::moment(at)), None => "lives" } }
                td { @if let Some(key) = &tpm.ek_name { @if let Some(number) = numbers.get(key.as_str()) { (number) ": " } (parts::short(key)) } }
            }
        }
    };
    parts::table(
        "Lineage",
        &["VM", "TPM", "From", "By", "When", "Until", "Key"],
        &rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_inventory::Lineage;
    use vm_inventory::model::Timestamp;

    fn node(name: &str, depth: u32) -> LineageNode {
        LineageNode {
            tpm: Lineage {
                vm: VmId::random(),
                name: name.parse().unwrap(),
                organization: None,
                action: Some(TpmAction::Copy),
                source: None,
                operation: "vsphere_clone".to_owned(),
                ek_name: Some("000b".to_owned()),
                at: Timestamp(0),
                ended: None,
            },
            depth,
        }
    }

    #[test]
    fn each_box_stands_below_what_it_was_made_from() {
        let tree = [node("root", 0), node("a", 1), node("a1", 2), node("b", 1)];
        let rows = rows(&tree);
        let shown: Vec<_> = rows
            .iter()
            .map(|row| (row.node.tpm.name.as_str(), row.depth, row.parent))
            .collect();
        let expected = [
            ("root", 0, None),
            ("a", 1, Some(0)),
            ("a1", 2, Some(1)),
            ("b", 1, Some(0)),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn of_thousands_the_first_are_shown_and_the_way_to_this_one() {
        let mut tree = vec![node("root", 0)];
        for number in 0..MOST {
            tree.push(node(&format!("x{number}"), 1));
        }
        let (parent, child) = (node("parent", 1), node("child", 2));
        let this = child.tpm.vm;
        tree.extend([node("other", 1), parent, child, node("last", 1)]);
        let names: Vec<_> = nearest(tree.clone(), this)
            .iter()
            .map(|node| node.tpm.name.to_string())
            .collect();
        assert_eq!(names.len(), MOST + 2);
        assert!(names.ends_with(&["parent".to_owned(), "child".to_owned()]));
        tree.truncate(MOST);
        assert_eq!(nearest(tree, this).len(), MOST);
    }

    #[test]
    fn a_long_chain_stays_narrow_and_names_stay_text() {
        let mut tree: Vec<LineageNode> = (0..200).map(|depth| node("x", depth)).collect();
        tree.push(node("<script>", 200));
        assert!(rows(&tree).iter().all(|row| row.depth <= DEEPEST));
        let drawn = graph(&tree, VmId::random(), &[]).into_string();
        assert!(drawn.contains("&lt;script&gt;") && !drawn.contains("<script>"));
        assert_eq!(drawn.matches("class=\"edge\"").count(), 200);
    }

    #[test]
    fn keys_have_numbers_where_colours_begin_again() {
        let tree: Vec<LineageNode> = (0..9)
            .map(|number| {
                let mut node = node("x", number);
                node.tpm.ek_name = Some(format!("000b{}", number % 8));
                node
            })
            .collect();
        let drawn = graph(&tree, VmId::random(), &[]).into_string();
        assert_eq!(drawn.matches(">key 1<").count(), 2);
        assert_eq!(drawn.matches(">key 7<").count(), 1);
        assert_eq!(drawn.matches("identity-0").count(), 3, "1, 7 and 1 again");
    }
}
