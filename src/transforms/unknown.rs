//! What `configure` says of a type that does not exist.

use crate::config::parse;
use std::path::Path;

#[test]
fn an_unknown_type_is_one_problem() {
    let text = "[transforms.t]\ntype = 'scael'\ninputs = ['a']\nfactor = 2\n";
    let found = parse(Path::new("x"), text, |root, _| {
        let (name, section) = root.sections("transforms").remove(0);
        super::configure(&name, section);
    });
    let found = found.unwrap_err();
    assert_eq!(found.list.len(), 1);
    assert!(
        found
            .to_string()
            .contains("is \"scael\", which is unknown (did you mean \"scale\"?)")
    );
}
