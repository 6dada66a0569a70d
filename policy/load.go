package policy

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"scopeward/internal/strictyaml"
)

// Load reads and compiles policy files, and those of directories: their *.yaml
// and *.yml files, without hidden ones and without folders below. Its error is
// strictyaml.Problems with all mistakes of all files, also those of reading.
func Load(paths ...string) (*Set, error) {
	var files []File
	var problems strictyaml.Problems
	for _, path := range paths {
		names, err := expand(path)
		switch {
		case err != nil:
			problems = append(problems, strictyaml.Unreadable(path, err)...)
		case len(names) == 0:
			problems = append(problems, strictyaml.Problem{Pos: strictyaml.Pos{File: path}, Message: "the folder has no *.yaml or *.yml file"})
		}
		for _, name := range names {
			data, unread := strictyaml.ReadFile(name)
			if problems = append(problems, unread...); unread == nil {
				files = append(files, File{Name: name, Data: data})
			}
		}
	}
	if len(problems) == 0 {
		return Parse(files...)
	}
	if len(files) > 0 {
		var more strictyaml.Problems
		if _, err := Parse(files...); errors.As(err, &more) {
			problems = append(problems, more...)
		}
	}
	return nil, problems.Err()
}

// expand gives the files that a path stands for, sorted.
func expand(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	slices.Sort(names)
	return names, nil
}
