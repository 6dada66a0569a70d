package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and of what it was built",
		Example: `  scopeward version
  scopeward version --output json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return &usageError{err}
			}
			return readBuild().print(cmd.OutOrStdout(), output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// release is the version of what is published. The linker sets it (make release, Dockerfile):
// those builds have no checkout to note down, so that anyone can repeat them.
var release string

// build is of what the program was built. Empty is what the build did not note down.
type build struct {
	Version      string `json:"version"`
	Commit       string `json:"commit,omitempty"`
	CommitTime   string `json:"commitTime,omitempty"` // RFC 3339
	Modified     bool   `json:"modified"`             // whether the checkout had more than the commit
	Go           string `json:"go"`
	Platform     string `json:"platform"`
	Dependencies int    `json:"dependencies"` // modules that are linked
}

func readBuild() build {
	b := build{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version, b.Dependencies = info.Main.Version, len(info.Deps)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.CommitTime = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	if b.Commit != "" && (b.Version == "" || b.Version == "(devel)") {
		b.Version = b.Commit[:min(12, len(b.Commit))]
	}
	if release != "" {
		b.Version = release
	}
	return b
}

// version is the module's, or the commit's where it was built from a checkout.
func version() string { return readBuild().Version }

func (b build) print(w io.Writer, output string) error {
	if output == "json" {
		return printJSON(w, b)
	}
	fmt.Fprintf(w, "scopeward %s (%s, %s)\n", b.Version, b.Go, b.Platform)
	if b.Commit != "" {
		modified := ""
		if b.Modified {
			modified = ", and changes that were not committed"
		}
		fmt.Fprintf(w, "commit %s of %s%s\n", b.Commit, b.CommitTime, modified)
	}
	_, err := fmt.Fprintf(w, "%s\n", count(b.Dependencies, "module"))
	return err
}
