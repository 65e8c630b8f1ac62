// Writes a strict JSON schema per kind, for kubeconform: an unknown field is an error.
//
//	schemas SWAGGER FOLDER_OF_CRDS OUT
//
// SWAGGER is Kubernetes' api/openapi-spec/swagger.json, the folder holds definitions of custom resources. A file is called
// GROUP_VERSION_KIND.json, in lower case.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

type object = map[string]any

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: schemas SWAGGER FOLDER_OF_CRDS OUT")
	}
	swagger, crds, out := os.Args[1], os.Args[2], os.Args[3]
	must(os.MkdirAll(out, 0o755))
	builtIn(read(swagger), out)
	files := must1(filepath.Glob(filepath.Join(crds, "*.yaml")))
	for _, file := range files {
		custom(read(file), out)
	}
}

// builtIn writes the kinds of Kubernetes itself; each file holds the definitions that it refers to.
func builtIn(swagger object, out string) {
	definitions := swagger["definitions"].(object)
	for name, definition := range definitions {
		tighten(definition)
		if strings.HasSuffix(name, ".IntOrString") || strings.HasSuffix(name, ".Quantity") {
			definitions[name] = anyOf("string", "number")
		}
	}
	for name, definition := range definitions {
		kinds, _ := definition.(object)["x-kubernetes-group-version-kind"].([]any)
		// Those of several groups are options of requests, not objects.
		if len(kinds) != 1 {
			continue
		}
		kind := kinds[0].(object)
		needed := object{}
		collect(definitions, name, needed)
		write(out, kind["group"], kind["version"], kind["kind"], object{
			"$ref":        "#/definitions/" + name,
			"definitions": needed,
		})
	}
}

// custom writes the kinds of a CustomResourceDefinition.
func custom(crd object, out string) {
	spec := crd["spec"].(object)
	for _, version := range spec["versions"].([]any) {
		version := version.(object)
		schema := version["schema"].(object)["openAPIV3Schema"].(object)
		tighten(schema)
		write(out, spec["group"], version["name"], spec["names"].(object)["kind"], schema)
	}
}

// tighten closes every object whose fields are named, and says in JSON Schema what Kubernetes says with words of its own.
func tighten(schema any) {
	node, ok := schema.(object)
	if !ok {
		return
	}
	for _, word := range []string{"items", "additionalProperties", "not"} {
		tighten(node[word])
	}
	for _, word := range []string{"allOf", "anyOf", "oneOf"} {
		parts, _ := node[word].([]any)
		for _, part := range parts {
			tighten(part)
		}
	}
	fields, named := node["properties"].(object)
	for _, field := range fields {
		tighten(field)
	}
	if node["x-kubernetes-int-or-string"] == true {
		delete(node, "type")
		node["anyOf"] = anyOf("string", "integer")["anyOf"]
	}
	if kind, ok := node["type"].(string); ok && node["nullable"] == true {
		node["type"] = []any{kind, "null"}
	}
	_, open := node["additionalProperties"]
	if named && !open && node["x-kubernetes-preserve-unknown-fields"] != true {
		node["additionalProperties"] = false
	}
}

func collect(definitions object, name string, into object) {
	if _, known := into[name]; known {
		return
	}
	into[name] = definitions[name]
	for _, other := range references(definitions[name]) {
		collect(definitions, other, into)
	}
}

func references(schema any) (found []string) {
	switch schema := schema.(type) {
	case []any:
		for _, item := range schema {
			found = append(found, references(item)...)
		}
	case object:
		if name, ok := schema["$ref"].(string); ok {
			found = append(found, strings.TrimPrefix(name, "#/definitions/"))
		}
		for _, inner := range schema {
			found = append(found, references(inner)...)
		}
	}
	return found
}

func anyOf(kinds ...string) object {
	var all []any
	for _, kind := range kinds {
		all = append(all, object{"type": kind})
	}
	return object{"anyOf": all}
}

func write(out string, group, version, kind any, schema object) {
	if group == "" {
		group = version // as kubeconform calls it
	}
	name := strings.ToLower(fmt.Sprintf("%s_%s_%s.json", group, version, kind))
	must(os.WriteFile(filepath.Join(out, name), must1(json.Marshal(schema)), 0o644))
}

func read(file string) (content object) {
	must(yaml.Unmarshal(must1(os.ReadFile(file)), &content))
	return content
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must1[T any](value T, err error) T {
	must(err)
	return value
}
