package policy

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"scopeward/internal/strictyaml"
)

// Load reads and compiles policy files, and those of folders: their *.yaml and *.yml
// files, in whatever case. Hidden files and backups of editors (policy.yaml~) don't
// count; a folder below, and a file such as policy.yaml.bak, are mistakes unless they
// have nothing of a policy. Its error is strictyaml.Problems with all mistakes of all
// files, also those of reading.
func Load(paths ...string) (*Set, error) {
	var files []File
	var problems strictyaml.Problems
	given := map[string]bool{}
	for _, path := range paths {
		names, leftOut, err := expand(path, paths)
		problems = append(problems, leftOut...)
		switch {
		case err != nil:
			problems = append(problems, strictyaml.Unreadable(path, err)...)
		case len(names) == 0 && len(leftOut) == 0:
			problems = append(problems, strictyaml.Problem{Pos: strictyaml.Pos{File: path}, Message: "the folder has no *.yaml or *.yml file"})
		}
		for _, name := range names {
			if !first(given, name) {
				continue // once by itself and once in its folder, for example
			}
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

// first reports whether a file is given for the first time.
func first(given map[string]bool, name string) bool {
	whole, err := filepath.Abs(name)
	if err != nil {
		whole = filepath.Clean(name)
	}
	known := given[whole]
	given[whole] = true
	return !known
}

// expand gives the files that a path stands for, sorted, and what of a folder would be
// left out in silence. given are all paths: a folder below may be one of them.
func expand(path string, given []string) (names []string, leftOut strictyaml.Problems, _ error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		switch below := folderBelow(name, given); {
		case isHidden(e.Name()):
		case isFile(e.Name()):
			names = append(names, name)
		case below != "":
			leftOut = append(leftOut, strictyaml.Problem{Pos: strictyaml.Pos{File: below}, Message: "does not count, as folders in a folder of policies are not read: " +
				"give its folder as well, or move it"})
		case strings.Contains(strings.ToLower(e.Name()), ".yaml"), strings.Contains(strings.ToLower(e.Name()), ".yml"):
			leftOut = append(leftOut, strictyaml.Problem{Pos: strictyaml.Pos{File: name}, Message: "does not count, as its name does not end in .yaml or .yml: " +
				"rename it, move it, or hide it by a dot at the start of its name"})
		}
	}
	slices.Sort(names)
	return names, leftOut, nil
}

// isFile reports whether a file of this name counts in a folder of policies.
func isFile(name string) bool {
	ext := strings.ToLower(filepath.Ext(name))
	return (ext == ".yaml" || ext == ".yml") && !isHidden(filepath.Base(name))
}

// isHidden is true also of what editors leave behind. Kubernetes keeps the data of its
// volumes in hidden folders.
func isHidden(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.HasPrefix(name, "#")
}

// folderBelow gives the first policy file in a folder and those below it, "" if there is
// none, or if it is no folder, or one that is given.
func folderBelow(folder string, given []string) string {
	target, err := filepath.EvalSymlinks(folder) // WalkDir follows none
	if info, statErr := os.Stat(folder); err != nil || statErr != nil || !info.IsDir() {
		return ""
	}
	found := ""
	// What can't be read is not known to be a policy.
	_ = filepath.WalkDir(target, func(path string, e os.DirEntry, err error) error {
		name := filepath.Join(folder, strings.TrimPrefix(path, target))
		switch {
		case err != nil:
			return filepath.SkipDir
		case path != target && isHidden(e.Name()) && e.IsDir(), e.IsDir() && isGiven(name, given) && path != target:
			return filepath.SkipDir
		case !e.IsDir() && isFile(e.Name()) && !isGiven(name, given) && !isGiven(filepath.Dir(name), given):
			found = name
			return filepath.SkipAll
		}
		return nil
	})
	return found
}

func isGiven(name string, given []string) bool {
	return slices.ContainsFunc(given, func(path string) bool { return filepath.Clean(path) == name })
}
