package pattern

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// draw makes a pattern of few names, so that many overlap.
func draw(random *rand.Rand, hosts []string) *Pattern {
	pick := func(choices ...string) string { return choices[random.IntN(len(choices))] }
	path := ""
	for i := range random.IntN(4) {
		path += "/" + pick("a", "b", fmt.Sprintf("{x%d}", i))
	}
	path += pick("", "", "/", "/{$}", "/{rest...}")
	if path == "" {
		path = "/"
	}
	p := &Pattern{Method: pick("", "GET", "HEAD", "POST"), Host: pick(hosts...)}
	var err error
	if p.Segments, p.End, p.Rest, err = ParsePath(path); err != nil {
		panic(err)
	}
	return p
}

type request struct{ method, host, path string }

// requests are all that the patterns of draw can tell apart.
func requests(hosts []string) []request {
	paths := []string{"/"}
	last := []string{""}
	for range 4 {
		var next []string
		for _, prefix := range last {
			for _, segment := range []string{"a", "b", "c"} {
				next = append(next, prefix+"/"+segment)
			}
		}
		for _, path := range next {
			paths = append(paths, path, path+"/")
		}
		last = next
		if len(last) > 27 {
			last = last[:27]
		}
	}
	var all []request
	for _, method := range []string{"GET", "HEAD", "POST", "PUT"} {
		for _, host := range hosts {
			for _, path := range paths {
				all = append(all, request{method, host, path})
			}
		}
	}
	return all
}

// TestAlgebra holds the relations and what two patterns have in common against all
// requests.
func TestAlgebra(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	universe := requests([]string{"a.example.com", "c.example.com", "example.org"})
	for range 500 {
		p := draw(random, []string{"", "", "a.example.com", "{t}.example.com"})
		q := draw(random, []string{"", "", "a.example.com", "{u}.example.com"})
		both, some := p.Meet(q)
		var onlyP, onlyQ, common bool
		for _, r := range universe {
			inP, inQ := p.Matches(r.method, r.host, r.path), q.Matches(r.method, r.host, r.path)
			onlyP, onlyQ, common = onlyP || inP && !inQ, onlyQ || inQ && !inP, common || inP && inQ
			if got := some && both.Matches(r.method, r.host, r.path); got != (inP && inQ) {
				t.Fatalf("%s meets %s in %s, which has %v: %v", p, q, both.String(), r, got)
			}
		}
		want := Overlap
		switch {
		case !common:
			want = Disjoint
		case !onlyP && !onlyQ:
			want = Equal
		case !onlyP:
			want = Within
		case !onlyQ:
			want = Contains
		}
		if got := p.Compare(q); got != want {
			t.Fatalf("%s and %s: got relation %d, want %d", p, q, got, want)
		}
		if p.Covers(q) != (want == Equal || want == Contains) || (p.Key() == q.Key()) != (want == Equal) {
			t.Fatalf("%s and %s: covers %v, keys %q and %q, relation %d", p, q, p.Covers(q), p.Key(), q.Key(), want)
		}
	}
}

// TestAsServeMux: sets of patterns that net/http.ServeMux takes are answered as it does,
// and those that it does not take conflict.
func TestAsServeMux(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	hosts := []string{"a.example.com", "other.example.com"}
	universe := requests(hosts)
	taken, refused := 0, 0
	for range 100 {
		mux, tree := http.NewServeMux(), Tree[string]{}
		var all []*Pattern
		for range 1 + random.IntN(6) {
			p := draw(random, []string{"", "", "a.example.com"})
			conflicts := false
			for _, q := range all {
				conflicts = conflicts || p.Conflicts(q)
			}
			if ok := register(mux, p.String()); ok == conflicts {
				t.Fatalf("%v and %s: ServeMux takes it: %v", all, p, ok)
			}
			if conflicts {
				refused++
				continue
			}
			taken++
			all = append(all, p)
			if same := tree.Add(p, p.String()); same != nil {
				t.Fatalf("%v: %s is there", all, p)
			}
		}
		for _, r := range universe {
			_, want := mux.Handler(&http.Request{Method: r.method, Host: r.host, URL: &url.URL{Path: r.path}})
			if want != "" && redirects(mux, r) {
				want = ""
			}
			found, _ := tree.Find(r.method, r.host, r.path)
			got := ""
			if found != nil {
				got = found.Value
			}
			if got != want {
				t.Fatalf("%v: %v finds %q, ServeMux %q", all, r, got, want)
			}
		}
	}
	if taken < 50 || refused < 30 {
		t.Errorf("%d patterns taken, %d refused: too few", taken, refused)
	}
}

type status int

func (s *status) Header() http.Header         { return http.Header{} }
func (s *status) Write(b []byte) (int, error) { return len(b), nil }
func (s *status) WriteHeader(code int)        { *s = status(code) }

func redirects(mux *http.ServeMux, r request) bool {
	var s status
	mux.ServeHTTP(&s, &http.Request{Method: r.method, Host: r.host, URL: &url.URL{Path: r.path}})
	return s/100 == 3
}

func register(mux *http.ServeMux, pattern string) (ok bool) {
	defer func() { ok = recover() == nil }()
	mux.Handle(pattern, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	return true
}

// TestMostSpecific: where conflicts are settled by a pattern for what two have in common,
// the pattern that is found is a part of all that match and have a host of its kind.
func TestMostSpecific(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	universe := requests([]string{"a.example.com", "c.example.com", "example.org"})
	settled := 0
	for range 100 {
		tree := Tree[int]{}
		var all []*Pattern
		add := func(p *Pattern) {
			if tree.Add(p, 0) == nil {
				all = append(all, p)
			}
		}
		for range 3 + random.IntN(4) {
			add(draw(random, []string{"", "", "a.example.com", "{t}.example.com"}))
		}
		for i := 0; i < len(all); i++ {
			for j := range i {
				if both, _ := all[i].Meet(all[j]); all[i].Conflicts(all[j]) {
					add(&both)
					settled++
				}
			}
		}
		for _, r := range universe {
			found, needsSlash := tree.Find(r.method, r.host, r.path)
			for _, p := range all {
				if !p.Matches(r.method, r.host, r.path) {
					continue
				}
				if found == nil && !needsSlash {
					t.Fatalf("%v: %v finds nothing", all, r)
				}
				if found != nil && !p.Covers(found.Pattern) && HostKey(p.Host) == HostKey(found.Pattern.Host) {
					t.Fatalf("%v: %v finds %s, %s matches too", all, r, found.Pattern, p)
				}
				if found != nil && compareHosts(p.Host, found.Pattern.Host) == Within {
					t.Fatalf("%v: %v finds %s, %s has the nearer host", all, r, found.Pattern, p)
				}
			}
			if found != nil && !found.Pattern.Matches(r.method, r.host, r.path) {
				t.Fatalf("%v: %v finds %s", all, r, found.Pattern)
			}
		}
	}
	if settled < 30 {
		t.Errorf("%d conflicts: too few", settled)
	}
}

// TestOverlapping: no pattern with a request in common is missed.
func TestOverlapping(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	hosts := []string{"", "", "a.example.com", "{t}.example.com"}
	for range 500 {
		tree := Tree[int]{}
		want := map[string]bool{}
		p := draw(random, hosts)
		for range 10 {
			q := draw(random, hosts)
			tree.Add(q, 0)
			if p.Compare(q) != Disjoint {
				want[q.Key()] = true
			}
		}
		tree.Overlapping(p, func() bool { return true }, func(leaf *Leaf[int]) { delete(want, leaf.Pattern.Key()) })
		if len(want) > 0 {
			t.Fatalf("%s: missed %v", p, want)
		}
	}
}

func TestValue(t *testing.T) {
	p := &Pattern{}
	var err error
	if p.Segments, p.End, p.Rest, err = ParsePath("/a/{x}/{y}/{rest...}"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"x": "1", "y": "2", "rest": "3/4", "z": ""} {
		if got := p.Value("/a/1/2/3/4", name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := p.Value("/a/1/2/", "rest"); got != "" {
		t.Errorf("an empty rest: got %q", got)
	}
	if got := p.Path(); got != "/a/{x}/{y}/{rest...}" || strings.Join(p.Names(), " ") != "x y rest" {
		t.Errorf("got %q with %v", got, p.Names())
	}
}
