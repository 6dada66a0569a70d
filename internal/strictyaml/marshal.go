package strictyaml

// MarshalYAML writes the value without its position.
func (l Located[T]) MarshalYAML() (any, error) { return l.Value, nil }
