package strictyaml

// Decode reads the YAML document in data into the struct that v points to. It
// returns all mistakes, sorted; none means that v holds the document. file is
// the name that positions carry.
func Decode(file string, data []byte, v any) Problems {
	return Problems{{Pos{File: file}, "not implemented"}}
}
