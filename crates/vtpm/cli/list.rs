//! Verbs that list things: a table, or JSON.

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;
use vm_web::api::Items;

use super::client::Client;
use super::output;

/// A thing that is shown as a row of `N` cells.
pub(super) trait Row<const N: usize>: Serialize + DeserializeOwned {
    /// What stands above the cells.
    const HEADINGS: [&'static str; N];

    fn row(&self) -> [String; N];
}

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct List {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl List {
    /// Shows all that the API has at `path`.
    pub(super) async fn of<T: Row<N>, const N: usize>(
        self,
        client: &Client,
        path: &str,
    ) -> anyhow::Result<()> {
        let all: Items<T> = client.get(path).await?;
        if self.json {
            return output::json(&all.items);
        }
        table(&all.items)
    }
}

/// Shows things as a table.
pub(super) fn table<T: Row<N>, const N: usize>(all: &[T]) -> anyhow::Result<()> {
    let rows: Vec<[String; N]> = all.iter().map(Row::row).collect();
    Ok(output::table(T::HEADINGS, &rows)?)
}

/// What there may be, or a dash.
pub(super) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Yes or no.
pub(super) fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}
