// Package scopeward carries the files of this repository that its programs need.
package scopeward

import "embed"

// Bootstraps are the Envoy configurations of the folder envoy, by their path in this
// repository.
//
//go:embed envoy/*.yaml envoy/compose/envoy.yaml
var Bootstraps embed.FS
