package token_test

import (
	stdjson "encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"scopeward/authz/token"
)

func TestClaimsThatAreRead(t *testing.T) {
	claims, err := token.ReadClaims([]byte(` { "a" : "x\"\u00fc" , "b":[ "p" , "q\\\"" ],"c":[],"d":["p",1],"e":["p",["q"]],"f":1.5e3,"g":true,"h":false,"i":null,"j":{"k":[{}]},"\u006b":"kk"} `))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"a": `x"ü`, "b": []any{"p", `q\"`}, "c": []any{}, "d": []any{"p", int64(1)}, "e": []any{"p", []any{"q"}}, "f": 1500., "g": true, "h": false, "i": nil,
		"j": map[string]any{"k": []any{map[string]any{}}}, "k": "kk",
	}
	if diff := cmp.Diff(want, claims.Map()); diff != "" {
		t.Errorf("all: -want +got:\n%s", diff)
	}
	for name, want := range want {
		if got, ok := claims.Get(name); !ok || !claims.Has(name) || !cmp.Equal(want, got) {
			t.Errorf("%s: got %v, %v", name, got, ok)
		}
		if got, _ := want.(string); claims.Text(name) != got {
			t.Errorf("%s: got the text %q", name, claims.Text(name))
		}
		if list, others, ok := claims.Texts(name); ok != slices.Contains([]string{"b", "c", "d", "e"}, name) || ok && (len(list) != len(want.([]any))) != others {
			t.Errorf("%s: got the texts %q, %v", name, list, ok)
		}
	}
	none := token.Claims{}
	if _, ok := none.Get("a"); ok || none.Has("a") || none.Text("a") != "" || none.Map() != nil {
		t.Error("the zero value has claims")
	}
	if _, _, ok := none.Texts("a"); ok {
		t.Error("the zero value has texts")
	}
}

func TestClaimsAreBounded(t *testing.T) {
	for depth, good := range map[int]bool{1: true, 31: true, 32: false, 100: false} {
		_, err := token.ReadClaims([]byte(`{"a":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + "}"))
		if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "nested") {
			t.Errorf("%d levels: got %v", depth, err)
		}
	}
}

func TestClaimsThatHaveNoJSON(t *testing.T) {
	if _, err := token.NewClaims(map[string]any{"a": make(chan int)}); err == nil {
		t.Error("accepted a channel")
	}
}

// rounded has numbers as the library decodes them.
func rounded(value any) any {
	switch v := value.(type) {
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case stdjson.Number:
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = rounded(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = rounded(v[name])
		}
	}
	return value
}

// FuzzClaims compares with what the library decodes at once.
func FuzzClaims(f *testing.F) {
	f.Add(`{"a":["b","\u0063\\"],"d":1e3,"e":{"f":null},"exp":1893456000,"sub":"alice"}`)
	f.Add(`{"a":1,"\u0061":2}`)
	f.Add(` {"a" : [ "b" , [ ] ] , "iss" : "\"" }`)
	f.Add(`{"a":1e999}`)
	f.Add(`{"a":[12345678901234567890123,-1.5e300,0,-0,18446744073709551615,9007199254740993.0]}`)
	f.Fuzz(func(t *testing.T, data string) {
		var decoded any
		wrong := json.Unmarshal([]byte(data), &decoded)
		want, isObject := decoded.(map[string]any)
		claims, err := token.ReadClaims([]byte(data))
		if tooDeep := err != nil && strings.Contains(err.Error(), "nested"); tooDeep {
			return
		}
		if (err == nil) != (wrong == nil && isObject) {
			t.Fatalf("got %v, the library says %v", err, wrong)
		}
		if err != nil {
			return
		}
		got, ok := rounded(claims.Map()).(map[string]any)
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Fatalf("-want +got:\n%s", diff)
		}
		id := &token.Identity{Subject: claims.Text("sub"), Issuer: "i"}
		id.SetClaims(claims)
		if diff := cmp.Diff(want, rounded(id.Claims())); diff != "" {
			t.Fatalf("an identity: -want +got:\n%s", diff)
		}
		for name, want := range want {
			if got, ok := claims.Get(name); !ok || !cmp.Equal(want, rounded(got)) {
				t.Fatalf("%q: got %v, want %v", name, got, want)
			}
			list, others, ok := claims.Texts(name)
			elements, isArray := want.([]any)
			texts := slices.DeleteFunc(slices.Clone(elements), func(e any) bool { _, ok := e.(string); return !ok })
			if ok != isArray || others != (len(texts) < len(elements)) || len(list) != len(texts) {
				t.Fatalf("%q: %q, %v of %v", name, list, ok, want)
			}
			for i := range list {
				if list[i] != texts[i] {
					t.Fatalf("%q: got %q, want %q", name, list, elements)
				}
			}
		}
	})
}
