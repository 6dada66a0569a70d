package authz

import "scopeward/policy"

// Answer is what a client gets for a decision, for tools that explain one.
type Answer struct {
	Status    int    // 200 if the request goes upstream
	Body      string // of a denial
	Challenge string // WWW-Authenticate; empty if there is none
}

// Answer gives what the client would get under this snapshot: for the decision,
// or for err if it is not nil, by the table that the server answers by.
func (s *Snapshot) Answer(d policy.Decision, err error) Answer {
	v := judged(d)
	if err != nil {
		v = denied(err)
	}
	if v.code == codeAllow {
		return Answer{Status: 200}
	}
	denial := s.denial(v)
	return Answer{Status: int(denial.status), Body: denial.body, Challenge: denial.challenge}
}
