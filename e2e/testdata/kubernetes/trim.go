//go:build ignore

// trim makes kubernetes.json and crds.json: see README.md.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// builtin are the kinds that our manifests have of Kubernetes' own, by the OpenAPI document that describes them.
var builtin = map[string][]string{
	"api__v1":                     {"core.v1.Namespace", "core.v1.Service", "core.v1.ServiceAccount", "core.v1.ConfigMap"},
	"apis__apps__v1":              {"apps.v1.Deployment"},
	"apis__policy__v1":            {"policy.v1.PodDisruptionBudget"},
	"apis__autoscaling__v2":       {"autoscaling.v2.HorizontalPodAutoscaler"},
	"apis__networking.k8s.io__v1": {"networking.v1.NetworkPolicy"},
	"apis__scheduling.k8s.io__v1": {"scheduling.v1.PriorityClass"},
}

// custom are the others, with the version that they are written in.
var custom = map[string]string{
	"securitypolicies.gateway.envoyproxy.io":      "v1alpha1",
	"clienttrafficpolicies.gateway.envoyproxy.io": "v1alpha1",
	"referencegrants.gateway.networking.k8s.io":   "v1",
	"authorizationpolicies.security.istio.io":     "v1",
	"peerauthentications.security.istio.io":       "v1",
	"envoyfilters.networking.istio.io":            "v1alpha3",
	"servicemonitors.monitoring.coreos.com":       "v1",
	"podmonitors.monitoring.coreos.com":           "v1",
	"prometheusrules.monitoring.coreos.com":       "v1",
	"certificates.cert-manager.io":                "v1",
}

func main() {
	if len(os.Args) < 3 {
		fail("usage: go run trim.go FOLDER_OF_OPENAPI_DOCUMENTS CRD_FILE...")
	}
	write("kubernetes.json", openAPI(os.Args[1]))
	write("crds.json", definitions(os.Args[2:]))
}

// openAPI collects the schemas of the kinds and of all that they refer to.
func openAPI(dir string) map[string]any {
	schemas := map[string]any{}
	for file, kinds := range builtin {
		var doc struct {
			Components struct{ Schemas map[string]any }
		}
		check(json.Unmarshal(read(filepath.Join(dir, file+"_openapi.json")), &doc))
		for _, kind := range kinds {
			collect(schemas, doc.Components.Schemas, "io.k8s.api."+kind)
		}
	}
	return schemas
}

func collect(into, from map[string]any, name string) {
	if into[name] != nil {
		return
	}
	schema, ok := from[name]
	if !ok {
		fail("there is no schema " + name)
	}
	into[name] = trim(schema)
	for _, ref := range refs(schema) {
		collect(into, from, strings.TrimPrefix(ref, "#/components/schemas/"))
	}
}

func refs(node any) (found []string) {
	switch n := node.(type) {
	case map[string]any:
		for key, value := range n {
			if ref, ok := value.(string); ok && key == "$ref" {
				found = append(found, ref)
			}
			found = append(found, refs(value)...)
		}
	case []any:
		for _, value := range n {
			found = append(found, refs(value)...)
		}
	}
	return found
}

// definitions are the custom resource definitions in the files, without the versions that we do not write.
func definitions(files []string) map[string]any {
	found := map[string]any{}
	for _, file := range files {
		decoder := yaml.NewDecoder(bytes.NewReader(read(file)))
		for {
			var crd map[string]any
			if decoder.Decode(&crd) != nil {
				break
			}
			metadata, _ := crd["metadata"].(map[string]any)
			name, _ := metadata["name"].(string)
			version, ok := custom[name]
			if !ok {
				continue
			}
			delete(custom, name) // the first that has it
			spec := crd["spec"].(map[string]any)
			spec["versions"] = slices.DeleteFunc(spec["versions"].([]any), func(v any) bool { return v.(map[string]any)["name"] != version })
			spec["versions"].([]any)[0].(map[string]any)["storage"] = true
			delete(spec, "conversion")
			delete(crd, "status")
			for key := range metadata {
				if key != "name" {
					delete(metadata, key)
				}
			}
			// The API server wants to see that a group of its own was approved.
			if strings.HasSuffix(name, ".k8s.io") {
				metadata["annotations"] = map[string]any{"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api"}
			}
			found[name] = trim(crd)
		}
	}
	for name := range custom {
		fail("no file has " + name)
	}
	return found
}

// trim takes out what is for people, and what an apply makes of no use to us.
func trim(node any) any {
	switch n := node.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range n {
			_, text := value.(string)
			if key == "status" && n["spec"] != nil || key == "description" && text || key == "x-kubernetes-group-version-kind" || key == "additionalPrinterColumns" {
				continue
			}
			out[key] = trim(value)
		}
		return out
	case []any:
		out := []any{}
		for _, value := range n {
			out = append(out, trim(value))
		}
		return out
	}
	return node
}

func read(file string) []byte {
	data, err := os.ReadFile(file)
	check(err)
	return data
}

// write has each entry on a line of its own.
func write(file string, entries map[string]any) {
	var text bytes.Buffer
	separator := "{\n"
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		entry, err := json.Marshal(entries[name])
		check(err)
		fmt.Fprintf(&text, "%s%q: %s", separator, name, entry)
		separator = ",\n"
	}
	check(os.WriteFile(file, append(text.Bytes(), "\n}\n"...), 0o644))
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, "trim:", text)
	os.Exit(1)
}
