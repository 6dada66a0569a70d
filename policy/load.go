package policy

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"scopeward/policy/strictyaml"
)

// Load reads and compiles policy files, and those of directories: their *.yaml
// and *.yml files, without hidden ones and without folders below. Its error is
// strictyaml.Problems with all mistakes of all files, also those of reading.
func Load(paths ...string) (*Set, error) {
	var files []File
	var problems strictyaml.Problems
	unreadable := func(path string, err error) {
		reason := err.Error()
		if e, ok := err.(*fs.PathError); ok {
			reason = e.Err.Error()
		}
		problems = append(problems, strictyaml.Problem{Pos: strictyaml.Pos{File: path}, Message: "cannot be read: " + reason})
	}
	for _, path := range paths {
		names, err := expand(path)
		if err != nil {
			unreadable(path, err)
			continue
		}
		if len(names) == 0 {
			problems = append(problems, strictyaml.Problem{Pos: strictyaml.Pos{File: path}, Message: "the folder has no *.yaml or *.yml file"})
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				unreadable(name, err)
				continue
			}
			files = append(files, File{Name: name, Data: data})
		}
	}
	if len(files) == 0 && len(problems) > 0 {
		return nil, problems.Err()
	}
	set, err := Parse(files...)
	if len(problems) == 0 {
		return set, err
	}
	if more, ok := err.(strictyaml.Problems); ok {
		problems = append(problems, more...)
	}
	return nil, problems.Err()
}

// expand gives the files that a path stands for, sorted.
func expand(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
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
