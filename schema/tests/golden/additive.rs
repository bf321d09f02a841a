//! Whether a change of a JSON Schema only adds.

use serde_json::Value;

/// What in `new` would break a reader or writer of `old`: nothing may go, nothing
/// may change, and nothing new may be required.
pub(super) fn breaking_changes(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", old, new, &mut found);
    found
}

fn compare(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, old_value) in old {
                let here = format!("{path}/{key}");
                // Words for people may change.
                if ["description", "title", "$comment"].contains(&key.as_str())
                    && old_value.is_string()
                {
                    continue;
                }
                match new.get(key) {
                    Some(new_value) => compare(&here, old_value, new_value, found),
                    None => found.push(format!("{here} is gone")),
                }
            }
            for key in new.keys().filter(|k| !old.contains_key(*k)) {
                if [
                    "required",
                    "additionalProperties",
                    "enum",
                    "const",
                    "pattern",
                ]
                .contains(&key.as_str())
                {
                    found.push(format!("{path}/{key} is a new restriction"));
                }
            }
        }
        (Value::Array(old_items), Value::Array(new_items)) => {
            let required = path.ends_with("/required");
            for item in old_items {
                if !required && !new_items.iter().any(|n| same_but_for_words(item, n)) {
                    found.push(format!("{path}: {item} is gone or changed"));
                }
            }
            for item in new_items
                .iter()
                .filter(|n| required && !old_items.contains(n))
            {
                found.push(format!("{path}: {item} is newly required"));
            }
        }
        (old, new) if old != new => found.push(format!("{path}: {old} became {new}")),
        _ => {}
    }
}

fn same_but_for_words(old: &Value, new: &Value) -> bool {
    let mut found = Vec::new();
    compare("", old, new, &mut found);
    found.is_empty()
}

#[cfg(test)]
mod tests {
    use super::breaking_changes;
    use serde_json::json;

    #[test]
    fn additions_are_told_from_breaks() {
        let old = json!({"properties": {"a": {"type": "string"}}, "required": ["a"],
            "oneOf": [{"const": "x", "description": "old words"}]});
        let added = json!({"properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
            "required": ["a"], "oneOf": [{"const": "x", "description": "new"}, {"const": "y"}]});
        assert_eq!(breaking_changes(&old, &added), [""; 0]);
        let mut changed = added.clone();
        changed["properties"]["a"]["type"] = json!("integer");
        changed["required"] = json!(["a", "b"]);
        changed["oneOf"] = json!([{"const": "y"}]);
        assert_eq!(
            breaking_changes(&old, &changed).len(),
            3,
            "{:?}",
            breaking_changes(&old, &changed)
        );
    }
}
