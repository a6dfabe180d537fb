//! Topic filters (MQTT 5, section 4.7) and shared subscriptions (4.8).

/// The filter of a subscription without `$share/NAME/`; the whole text where it is not shared.
pub fn unshared(filter: &str) -> &str {
    let shared = filter.strip_prefix("$share/");
    shared.map_or(filter, |rest| rest.split_once('/').map_or("", |(_, f)| f))
}

/// What is wrong with a filter, and what to write instead.
pub fn fault(filter: &str) -> Option<(&'static str, &'static str)> {
    if let Some(rest) = filter.strip_prefix("$share/") {
        let name = rest.split_once('/').map_or(rest, |(name, _)| name);
        if name.is_empty() || name.contains(['+', '#']) {
            return Some((
                "is shared and names no group",
                "write $share/GROUP/FILTER, the group without + #",
            ));
        }
    } else if filter == "$share" {
        return Some((
            "is shared and names no group",
            "write $share/GROUP/FILTER, the group without + #",
        ));
    }
    let topic = unshared(filter);
    if topic.is_empty() || topic.contains('\0') || filter.len() > super::FILTER_BYTES_MAX {
        return Some((
            "is no topic filter",
            "use 1 to 256 bytes without NUL, such as commands/{agent}/#",
        ));
    }
    let levels: Vec<&str> = topic.split('/').collect();
    let last = levels.len() - 1;
    let wrong = levels
        .iter()
        .enumerate()
        .any(|(at, level)| match level.find(['+', '#']) {
            None => false,
            Some(_) if level.len() > 1 => true,
            Some(_) => *level == "#" && at != last,
        });
    if wrong {
        return Some((
            "has a wildcard in a wrong place",
            "+ and # are whole levels between slashes, and # is the last one",
        ));
    }
    if levels.iter().all(|level| matches!(*level, "+" | "#")) {
        return Some((
            "takes in every topic, which nothing bounds",
            "name at least one level, such as commands/#",
        ));
    }
    None
}

/// Whether a topic is one of those that a filter means. The filter is sound and not shared.
pub fn matches(filter: &str, topic: &str) -> bool {
    // Wildcards at the front do not mean topics of the broker's own.
    if topic.starts_with('$') && !filter.starts_with('$') {
        return false;
    }
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(level), Some(name)) if level == name => {}
            _ => return false,
        }
    }
}

/// Whether some topic is meant by both filters. Both are sound and not shared.
pub fn meet(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_found() {
        for good in [
            "a",
            "a/b",
            "a/+/b",
            "a/#",
            "+/a",
            "$share/g/a/#",
            "/",
            "a//b",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in [
            "",
            "#",
            "+",
            "+/+",
            "+/#",
            "a#",
            "a/#/b",
            "a+/b",
            "#/a",
            "$share",
            "$share/",
            "$share//a",
            "$share/g",
            "$share/g/",
            "$share/+/a",
            "$share/g/#",
            "a\0",
        ] {
            assert!(fault(bad).is_some(), "{bad:?}");
        }
        assert!(fault(&"a".repeat(257)).is_some());
    }

    #[test]
    fn topics_are_matched_as_the_standard_has_it() {
        for (filter, topic) in [
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("a/+", "a/"),
            ("+/+", "/x"),
            ("+", "x"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("a/+", "a"),
            ("a/+", "a/b/c"),
            ("a", "b"),
            ("a/b", "a"),
            ("+/x", "$SYS/x"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn filters_that_share_a_topic_are_found() {
        for (one, other) in [
            ("dunlin/#", "dunlin/gw/+"),
            ("dunlin/+/x", "dunlin/gw/+"),
            ("+/gw/#", "dunlin/gw/+"),
        ] {
            assert!(meet(one, other) && meet(other, one), "{one} {other}");
        }
        assert!(!meet("commands/#", "dunlin/gw/+"));
        assert!(!meet("dunlin/gw/a/b", "dunlin/gw/+"));
    }
}
