package policy

import (
	"slices"
	"strings"
	"time"

	"scopeward/internal/strictyaml"
)

// futureLogin is how far in the future a login may lie: the provider's clock may be ahead.
const futureLogin = time.Minute

// maxDate is the end of the year 9999, beyond which time.Time stops to behave.
const maxDate = 253402300799

// StepUp reports whether the rule asks how, or how long ago, the user has signed in
// (RFC 9470).
func (r *Rule) StepUp() bool { return r != nil && (len(r.ACR) > 0 || r.MaxAge > 0) }

// StepUp says in words why the login that the token of id tells of is not one that the
// rule takes: for how the user has signed in, and for when. Both are empty if it is. What
// a token does not say, or says in another type than OpenID Connect has it, is not met.
func (m Match) StepUp(id *Identity) (acr, age string) {
	if !m.rule.StepUp() {
		return "", ""
	}
	if len(m.rule.ACR) > 0 {
		acr = m.rule.lacksACR(id.Claims["acr"])
	}
	if m.rule.MaxAge > 0 {
		age = m.rule.tooOld(id.Claims["auth_time"], m.request.Time)
	}
	return acr, age
}

func (r *Rule) lacksACR(claim any) string {
	acr, ok := claim.(string)
	switch {
	case !ok || acr == "":
		return "the token does not say how its user has signed in (acr)"
	case !slices.Contains(r.ACR, acr):
		return "the token's user has signed in in another way (acr)"
	default:
		return ""
	}
}

func (r *Rule) tooOld(claim any, now time.Time) string {
	login, ok := dateOf(claim)
	switch {
	case now.IsZero():
		return "the time of the request is not known"
	case !ok:
		return "the token does not say when its user has signed in (auth_time)"
	case login.After(now.Add(futureLogin)):
		return "the token's user is said to sign in in the future (auth_time)"
	case now.Sub(login) > r.MaxAge:
		return "the token's user has signed in too long ago (auth_time)"
	default:
		return ""
	}
}

// dateOf reads a NumericDate (RFC 7519 §2) of claims, in whole seconds.
func dateOf(claim any) (time.Time, bool) {
	var seconds int64
	switch v := claim.(type) {
	case int64:
		seconds = v
	case float64:
		if !(0 <= v && v <= maxDate) {
			return time.Time{}, false
		}
		seconds = int64(v)
	default: // also numbers that are not exact
		return time.Time{}, false
	}
	return time.Unix(seconds, 0), 0 <= seconds && seconds <= maxDate
}

// ACRWords says how the rule has users sign in; "" if it does not ask.
func (r *Rule) ACRWords() string {
	if len(r.ACR) == 0 {
		return ""
	}
	return "a login by " + strings.Join(r.ACR, " or ")
}

// MaxAgeWords says when the rule has users sign in; "" if it does not ask.
func (r *Rule) MaxAgeWords() string {
	if r.MaxAge == 0 {
		return ""
	}
	return "a login at most " + age(r.MaxAge) + " ago"
}

// age writes a duration as people do: 5m, not 5m0s.
func age(d time.Duration) string {
	text := strings.TrimSuffix(d.String(), "m0s")
	if text != d.String() {
		text += "m"
	}
	if hours, ok := strings.CutSuffix(text, "h0m"); ok {
		text = hours + "h"
	}
	return text
}

// acr reads the authentication contexts of a rule.
func (p *parser) acr(in strictyaml.Located[strictyaml.OneOrMore[strictyaml.Located[string]]]) []string {
	if in.Pos.Line != 0 && len(in.Value) == 0 {
		p.problem(in.Pos, "acr is empty: name an authentication context, or remove the key")
	}
	var all []string
	for _, acr := range in.Value {
		switch {
		case !isScope(acr.Value): // the challenge has them as scopes are written
			p.problem(acr.Pos, "acr %q is no value that a challenge can ask for: it must be one word of ASCII characters, without quotes and backslashes", acr.Value)
		case slices.Contains(all, acr.Value):
			p.problem(acr.Pos, "acr %q is repeated", acr.Value)
		default:
			all = append(all, acr.Value)
		}
	}
	return all
}

// maxAge reads how old the login may be. Challenges have it in seconds.
func (p *parser) maxAge(in strictyaml.Located[time.Duration]) time.Duration {
	if in.Pos.Line != 0 && (in.Value < time.Second || in.Value%time.Second != 0) {
		p.problem(in.Pos, "max_age must be whole seconds, and at least 1s")
	}
	return in.Value
}
