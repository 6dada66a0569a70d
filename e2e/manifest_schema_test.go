package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"scopeward/internal/testenv/schematest"
)

// schemas are those of the kinds that our manifests have: testdata/kubernetes/README.md says where they come from.
type schemas struct {
	document *schematest.Document
	names    map[string]string // by "apiVersion kind"
}

// newSchemas reads them. An unknown field is a mistake, as it is to the API server, and in a part of an object none is missing.
func newSchemas(t *testing.T, partial bool) *schemas {
	t.Helper()
	all, s := map[string]any{}, &schemas{names: map[string]string{}}
	readJSON(t, "testdata/kubernetes/kubernetes.json", &all)
	for name := range all {
		if rest, ok := strings.CutPrefix(name, "io.k8s.api."); ok {
			parts := strings.Split(strings.TrimPrefix(rest, "core."), ".")
			if group := parts[0]; group == "networking" || group == "scheduling" {
				parts[0] = group + ".k8s.io"
			}
			s.names[strings.Join(parts[:len(parts)-1], "/")+" "+parts[len(parts)-1]] = name
		}
	}
	crds := map[string]struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct {
					OpenAPIV3Schema struct{ Properties map[string]any }
				}
			}
		}
	}{}
	readJSON(t, "testdata/kubernetes/crds.json", &crds)
	for name, crd := range crds {
		v := crd.Spec.Versions[0]
		properties := map[string]any{"apiVersion": true, "kind": true, "spec": v.Schema.OpenAPIV3Schema.Properties["spec"],
			"metadata": map[string]any{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}}
		all[name] = map[string]any{"type": "object", "properties": properties, "required": []any{"metadata", "spec"}}
		s.names[crd.Spec.Group+"/"+v.Name+" "+crd.Spec.Names.Kind] = name
	}
	for _, schema := range all {
		tighten(schema, partial)
	}
	s.document = schematest.NewDocument(t, map[string]any{"components": map[string]any{"schemas": all}})
	return s
}

func readJSON(t *testing.T, file string, v any) {
	t.Helper()
	if err := json.Unmarshal(readFile(t, file), v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func tighten(node any, partial bool) {
	switch n := node.(type) {
	case map[string]any:
		for _, child := range n {
			tighten(child, partial)
		}
		if properties, ok := n["properties"].(map[string]any); ok && n["type"] == "object" && n["additionalProperties"] == nil && n["x-kubernetes-preserve-unknown-fields"] == nil {
			n["additionalProperties"] = false
			if partial { // a patch takes out a field by null
				for name, schema := range properties {
					properties[name] = map[string]any{"anyOf": []any{schema, map[string]any{"type": "null"}}}
				}
			}
		}
		if _, list := n["required"].([]any); list && partial {
			delete(n, "required")
		}
	case []any:
		for _, child := range n {
			tighten(child, partial)
		}
	}
}

// validate gives an error for what the API server would refuse.
func (s *schemas) validate(t *testing.T, data []byte) error {
	t.Helper()
	var head struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
	}
	if err := yaml.Unmarshal(data, &head); err != nil {
		return err
	}
	kind := head.APIVersion + " " + head.Kind
	name, ok := s.names[kind]
	if !ok {
		t.Fatalf("there is no schema for %s: add it to testdata/kubernetes/trim.go", kind)
	}
	return s.document.Compile(t, "/components/schemas/"+name).Validate(data)
}

// manifestFiles are the files with one object each, and those that are a part of one.
func manifestFiles(t *testing.T) (whole, parts []string) {
	t.Helper()
	for dir, k := range kustomizations(t) {
		for _, name := range k.Resources {
			if filepath.Ext(name) == ".yaml" {
				whole = append(whole, filepath.Join(dir, name))
			}
		}
		for _, p := range k.Patches {
			if path := filepath.Join(dir, p.Path); merges(t, path) {
				parts = append(parts, path)
			}
		}
	}
	for _, dir := range []string{"../envoy/istio", "../envoy/gateway"} {
		for _, file := range filesBelow(t, dir) {
			if filepath.Base(file) != "meshconfig.yaml" {
				whole = append(whole, file)
			}
		}
	}
	return whole, parts
}

// TestManifestSchemas: the API server would take every manifest, as far as its
// schemas tell; test-mesh asks it.
func TestManifestSchemas(t *testing.T) {
	t.Parallel()
	whole, parts := manifestFiles(t)
	for _, c := range []struct {
		files  []string
		schema *schemas
	}{{whole, newSchemas(t, false)}, {parts, newSchemas(t, true)}} {
		for _, file := range c.files {
			if err := c.schema.validate(t, readFile(t, file)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// TestManifestSchemasRefuse: one mistake in a manifest is enough.
func TestManifestSchemasRefuse(t *testing.T) {
	t.Parallel()
	s := newSchemas(t, false)
	for file, mistake := range map[string][2]string{
		"kubernetes/base/deployment.yaml":                          {"automountServiceAccountToken", "automountServiceAcountToken"},
		"kubernetes/base/service.yaml":                             {"port: 9191", "port: grpc"},
		"kubernetes/base/networkpolicy.yaml":                       {"  policyTypes: [Ingress, Egress]", "  policyTypes: Ingress"},
		"kubernetes/base/horizontalpodautoscaler.yaml":             {"  maxReplicas: 10", ""},
		"istio/sidecar.yaml":                                       {"action: CUSTOM", "action: CUSTOMS"},
		"istio/ingress-gateway.yaml":                               {"provider:", "providers:"},
		"gateway/securitypolicy.yaml":                              {"failOpen: false", "fail_open: false"},
		"gateway/clienttrafficpolicy.yaml":                         {"KeepUnchanged", "KEEP_UNCHANGED"},
		"gateway/referencegrant.yaml":                              {"  from:", "  form:"},
		"kubernetes/components/servicemonitor/servicemonitor.yaml": {"15s", "fifteen"},
		"kubernetes/components/podmonitor/podmonitor.yaml":         {"podMetricsEndpoints", "endpoints"},
		"kubernetes/components/prometheusrule/prometheusrule.yaml": {"expr:", "expression:"},
		"kubernetes/base/priorityclass.yaml":                       {"value: 1000000", "value: high"},
	} {
		data := string(readFile(t, "../envoy/"+file))
		broken := strings.Replace(data, mistake[0], mistake[1], 1)
		if broken == data {
			t.Errorf("%s has no %q", file, mistake[0])
		}
		if err := s.validate(t, []byte(broken)); err == nil {
			t.Errorf("%s: %q passed", file, mistake[1])
		}
	}
}
