//! Lists of numbers and of tables.

use super::{Section, finite};
use toml::Spanned;
use toml::de::DeValue;

impl<'a> Section<'a> {
    /// A list of numbers; empty where the key is absent.
    pub fn numbers(&mut self, key: &'static str) -> Vec<f64> {
        let wanted = "a list of finite numbers: [1, 2.5]";
        let items = self.list(key, wanted);
        let numbers = items.iter().map(|item| finite(item.get_ref()));
        numbers.collect::<Option<_>>().unwrap_or_else(|| {
            self.problem(
                key,
                "has something else than numbers",
                format_args!("write {wanted}"),
            );
            Vec::new()
        })
    }

    /// A list of pairs of numbers; empty where the key is absent.
    pub fn pairs(&mut self, key: &'static str) -> Vec<(f64, f64)> {
        let wanted = "a list of pairs of finite numbers: [[0, 1.5], [10, 2]]";
        let items = self.list(key, wanted);
        let pairs = items.iter().map(|item| match item.get_ref() {
            DeValue::Array(pair) if pair.len() == 2 => {
                Some((finite(pair[0].get_ref())?, finite(pair[1].get_ref())?))
            }
            _ => None,
        });
        pairs.collect::<Option<_>>().unwrap_or_else(|| {
            self.problem(
                key,
                "has something else than pairs of numbers",
                format_args!("write {wanted}"),
            );
            Vec::new()
        })
    }

    /// The tables in a list; empty where the key is absent.
    pub fn tables(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let wanted = "a list of tables: [{ ... }, { ... }]";
        let mut tables = Vec::new();
        for (at, item) in self.list(key, wanted).iter().enumerate() {
            match item.get_ref() {
                DeValue::Table(table) => {
                    tables.push(self.child(&format!("{key}[{at}]"), table, item.span().start));
                }
                other => self.wrong_type(key, other, wanted),
            }
        }
        tables
    }

    fn list(&mut self, key: &'static str, wanted: &str) -> &'a [Spanned<DeValue<'a>>] {
        match self.get(key).map(Spanned::get_ref) {
            None => &[],
            Some(DeValue::Array(list)) => list,
            Some(other) => {
                self.wrong_type(key, other, wanted);
                &[]
            }
        }
    }
}
