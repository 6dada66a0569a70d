package strictyaml

// MarshalYAML writes the value without its position.
func (l Located[T]) MarshalYAML() (any, error) { return l.Value, nil }

// MarshalYAML writes the text without its position.
func (t Text) MarshalYAML() (any, error) { return t.Value, nil }
