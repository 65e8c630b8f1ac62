//! The committed definitions are those of the types, and the types know every field the hub reads.

use super::*;

#[test]
fn the_committed_definitions_are_what_the_binary_prints() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/crds");
    for definition in all() {
        let path = directory.join(format!("{}.yaml", definition.spec.names.plural));
        let expected = yaml(&definition).unwrap();
        if std::env::var_os("KOH_BLESS").is_some() {
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(&path, &expected).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(committed, expected, "run `just generate` and commit {}", path.display());
    }
}

#[test]
fn a_condition_list_is_a_map_by_type() {
    for definition in all() {
        let text = serde_json::to_value(&definition).unwrap();
        let conditions = &text["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
            ["conditions"];
        assert_eq!(conditions["x-kubernetes-list-type"], "map", "{}", definition.spec.names.kind);
        assert_eq!(conditions["x-kubernetes-list-map-keys"], serde_json::json!(["type"]));
    }
}
