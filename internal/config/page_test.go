package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestConfigurationPage holds the reference in docs/configuration.md against the keys that
// are read. UPDATE=1 in the environment writes it.
func TestConfigurationPage(t *testing.T) {
	const page, begin = "../../docs/configuration.md", "<!-- generated: UPDATE=1 go test ./internal/config -run TestConfigurationPage -->\n"
	schema, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := schema.Write(&text); err != nil {
		t.Fatal(err)
	}
	var reference strings.Builder
	reference.WriteString("\n| key | default | |\n|---|---|---|\n")
	var root described
	if err := json.Unmarshal(text.Bytes(), &root); err != nil {
		t.Fatal(err)
	}
	if err := describe(&reference, root.Properties, ""); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, now, found := strings.Cut(string(data), begin)
	switch {
	case !found:
		t.Fatalf("%s has no line %q", page, begin)
	case now == reference.String():
	case os.Getenv("UPDATE") != "":
		if err := os.WriteFile(page, []byte(before+begin+reference.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not up to date: run it with UPDATE=1", page)
	}
}

// described is what the page tells of a key.
type described struct {
	Description string          `json:"description"`
	Default     json.RawMessage `json:"default"`
	Items       json.RawMessage `json:"items"`
	Properties  json.RawMessage `json:"properties"`
}

// describe writes a row for each property, in the schema's order, and for those below it.
func describe(to *strings.Builder, properties json.RawMessage, prefix string) error {
	if properties == nil {
		return nil
	}
	list := json.NewDecoder(bytes.NewReader(properties))
	if _, err := list.Token(); err != nil { // the brace
		return err
	}
	for list.More() {
		name, err := list.Token()
		if err != nil {
			return err
		}
		var key described
		if err := list.Decode(&key); err != nil {
			return err
		}
		path := prefix + fmt.Sprint(name)
		value := ""
		if key.Default != nil {
			value = "`" + strings.Trim(string(key.Default), `"`) + "`"
		}
		fmt.Fprintf(to, "| `%s` | %s | %s |\n", path, value, strings.NewReplacer("|", `\|`, "\n", " ").Replace(key.Description))
		below := path + "."
		if key.Items != nil {
			below = path + "[]."
			var element described
			if json.Unmarshal(key.Items, &element) == nil {
				key.Properties = element.Properties
			}
		}
		if err := describe(to, key.Properties, below); err != nil {
			return err
		}
	}
	return nil
}
