package policytest

import (
	"encoding/xml"
	"fmt"
	"io"

	"scopeward/internal/strictyaml"
)

// The elements of JUnit's XML, as CI systems read it.
type junitReport struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string      `xml:"name,attr"`
	Class   string      `xml:"classname,attr"`
	File    string      `xml:"file,attr,omitempty"`
	Line    int         `xml:"line,attr,omitempty"`
	Failure *junitFault `xml:"failure"`
	Error   *junitFault `xml:"error"`
}

type junitFault struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit writes a suite for each file, and one for what is asked of them all.
func (r Report) writeJUnit(w io.Writer, o Options) error {
	var suites []junitSuite
	for _, file := range r.Files {
		suite := junitSuite{Name: file}
		for _, result := range r.Results {
			if result.Test.Pos.File == file {
				suite.add(result)
			}
		}
		suites = append(suites, suite)
	}
	if faults := r.Faults(o); len(faults) > 0 {
		suite := junitSuite{Name: "requirements", Tests: len(faults), Failures: len(faults)}
		for _, fault := range faults {
			suite.Cases = append(suite.Cases, junitCase{Name: fault, Class: "requirements", Failure: &junitFault{Message: fault, Type: "requirement", Text: fault}})
		}
		suites = append(suites, suite)
	}
	return encodeJUnit(w, suites)
}

func (s *junitSuite) add(result Result) {
	at := result.Test.Pos
	c := junitCase{Name: fmt.Sprintf("%s (line %d)", Describe(result.Test), at.Line), Class: at.File, File: at.File, Line: at.Line}
	if !result.Passed() {
		s.Failures++
		c.Failure = &junitFault{Message: result.Fault, Type: result.Actual, Text: at.String() + ": " + result.Fault}
	}
	s.Tests++
	s.Cases = append(s.Cases, c)
}

func encodeJUnit(w io.Writer, suites []junitSuite) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(junitReport{Suites: suites}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func writeJUnitProblems(w io.Writer, problems strictyaml.Problems) error {
	suite := junitSuite{Name: "policy files", Tests: len(problems), Errors: len(problems)}
	for _, p := range problems {
		suite.Cases = append(suite.Cases, junitCase{
			Name: p.Pos.String(), Class: p.File, File: p.File, Line: p.Line,
			Error: &junitFault{Message: p.Message, Type: "unreadable", Text: p.Error()},
		})
	}
	return encodeJUnit(w, []junitSuite{suite})
}
