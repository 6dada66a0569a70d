package config

import (
	_ "embed"
	"maps"
	"reflect"
	"slices"
	"strings"

	"scopeward/internal/strictyaml"
)

//go:embed presets.yaml
var presetsFile []byte

// presets is the table of what is known of providers.
type presets struct {
	Presets map[string]preset `yaml:"presets"`
}

// preset is what is known of a provider.
type preset struct {
	Needs    string          `yaml:"needs" enum:"audience|subject_prefix"` // beside what its validation needs
	Because  string          `yaml:"because"`
	Advice   string          `yaml:"advice"`
	KnownBy  string          `yaml:"known_by"`
	Write    string          `yaml:"write"`
	Defaults providerSection `yaml:"defaults"`
}

// readPresets reads the table. A mistake in it would be one of this program: the tests
// tell.
func readPresets() map[string]preset {
	var table presets
	_ = strictyaml.Decode("presets.yaml", presetsFile, &table)
	return table.Presets
}

// presetOf is the preset of a name; the zero value is none.
func presetOf(name text) preset {
	if name == "" {
		return preset{}
	}
	return readPresets()[string(name)]
}

// Presets are the names of all presets, sorted.
func Presets() []string { return slices.Sorted(maps.Keys(readPresets())) }

// A PresetOutline is what a first configuration with a preset needs.
type PresetOutline struct {
	Name   string
	Issuer string   // that the preset knows; "" if it must be written
	Lines  []string // of YAML to be written; {audience} stands for the audience
	Found  bool     // its endpoints need no metadata of the issuer
}

// OutlinePreset describes a preset by its name; ok reports whether there is one. The name
// "" is for a provider without a preset.
func OutlinePreset(name string) (o PresetOutline, ok bool) {
	p, ok := readPresets()[name]
	o = PresetOutline{
		Name: name, Issuer: string(first(p.Defaults.Issuer).Value), Lines: strings.Split(strings.TrimSpace(p.Write), "\n"),
		Found: p.Defaults.Lookup.URL.Value != "" || len(p.Defaults.JWKS.URL) > 0 || name == "hydra",
	}
	if p.Write == "" {
		o.Lines = []string{"audiences: [{audience}]"}
	}
	return o, ok || name == ""
}

// PresetOf is the preset that an issuer is known by; "" if there is none.
func PresetOf(issuer string) string {
	for name, p := range readPresets() {
		if p.KnownBy != "" && strings.Contains(issuer, p.KnownBy) {
			return name
		}
	}
	return ""
}

// usePreset fills in what the preset of a provider knows and nobody wrote.
func (p *providerSection) usePreset() {
	if p.Preset.Value == "" {
		return
	}
	known := presetOf(p.Preset.Value).Defaults
	issuer := strings.TrimRight(string(first(p.Issuer).Value), "/")
	client := string(p.Lookup.ClientID.Value)
	if CheckValue(client) != nil { // which is a mistake at its own place
		client = "client"
	}
	settle(reflect.ValueOf(&known).Elem(), strings.NewReplacer("{issuer}", issuer, "{client_id}", client))
	if p.Opaque != nil {
		known.Tokens = located{} // what is written in the older spelling counts
	}
	fillIn(reflect.ValueOf(p).Elem(), reflect.ValueOf(known))
}

// settle puts values into texts, and forgets where everything stood: nobody wrote it.
func settle(v reflect.Value, values *strings.Replacer) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[strictyaml.Pos]() {
			v.SetZero()
			return
		}
		for i := range v.NumField() {
			if isKey(v.Type().Field(i)) {
				settle(v.Field(i), values)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			settle(v.Index(i), values)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			element := reflect.New(v.Type().Elem()).Elem()
			element.Set(v.MapIndex(key))
			settle(element, values)
			v.SetMapIndex(key, element)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			settle(v.Elem(), values)
		}
	case reflect.String:
		v.SetString(values.Replace(v.String()))
	}
}

// fillIn sets each key that is not there to what is known.
func fillIn(v, known reflect.Value) {
	if v.Kind() == reflect.Struct && !v.FieldByName("Pos").IsValid() { // a section; a value knows where it stood
		for i := range v.NumField() {
			if isKey(v.Type().Field(i)) {
				fillIn(v.Field(i), known.Field(i))
			}
		}
	} else if v.IsZero() {
		v.Set(known)
	}
}

func isKey(f reflect.StructField) bool { return f.IsExported() || f.Anonymous }

// preset checks that there is a preset of this name, and what it can't know itself.
func (v *validator) preset(p providerSection, pos func(located) strictyaml.Pos) {
	if p.Preset.Value == "" && p.Preset.Pos.Line == 0 {
		return
	}
	known, ok := readPresets()[string(p.Preset.Value)]
	needs := map[string]struct {
		name string
		met  bool
	}{
		"audience":       {"audiences or clients", len(p.Audiences)+len(p.Clients) > 0},
		"subject_prefix": {"subject_prefix", p.SubjectPrefix.Value != ""},
	}
	switch need, needed := needs[known.Needs]; {
	case !ok:
		v.oneOf("preset", located{Value: p.Preset.Value, Pos: pos(p.Preset)}, Presets()...)
	case needed && !need.met:
		v.add(pos(p.Preset), "provider %q: preset %s needs %s: %s", p.Name.Value, p.Preset.Value, need.name, known.Because)
	}
}
