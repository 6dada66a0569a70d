package inspect

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"scopeward/authz/token"
	"scopeward/internal/config"
)

// textOfCheck says in words what a check wants.
func textOfCheck(name string) string {
	words := map[string]string{
		"credential":          "it can stand in an Authorization header",
		token.CheckForm:       "it is a sound, signed JWT of an access token, or a token that a provider takes as it is",
		token.CheckProvider:   "a configured provider issued it",
		token.CheckAlgorithm:  "its signature algorithm is accepted",
		token.CheckSetup:      "the configuration says which issuer and audience count",
		token.CheckShape:      "exp, nbf, iat, iss and aud have the right types",
		token.CheckPurpose:    "it is an access token, not an ID, refresh or logout token",
		token.CheckIssuer:     "its issuer is the provider's",
		token.CheckAudience:   "it is for this API",
		token.CheckRequired:   "exp, iss and aud are there",
		token.CheckExpiry:     "it has not expired",
		token.CheckNotBefore:  "its time has come",
		token.CheckIssuedAt:   "it was not issued in the future",
		token.CheckClient:     "its client and subject are among those configured",
		token.CheckBinding:    "what it is bound to (cnf), if anything, is known",
		token.CheckNames:      "subject, client and e-mail address are sound text",
		token.CheckScopes:     "its scopes are well formed",
		token.CheckSignature:  "a key of the provider signed it",
		token.CheckAPIKey:     "it is an API key of the file, and has not expired",
		token.CheckValidation: "the provider vouches for it",
		token.CheckRevoked:    "no entry of revoked is about it",
	}
	return words[name]
}

// adviser knows what a person can do about a check that failed.
type adviser struct {
	diagnosis token.Diagnosis
	config    *config.Config
	now       time.Time
}

func (a adviser) check(c token.Check) Check {
	shown := Check{Name: c.Name, State: "passed", Text: textOfCheck(c.Name)}
	if c.Err == nil {
		return shown
	}
	shown.State, shown.Detail = "failed", reason(c.Err)
	var unavailable *token.UnavailableError
	if errors.As(c.Err, &unavailable) {
		shown.State = "unknown"
		if c.Name == token.CheckSignature && a.diagnosis.Provider != "" {
			shown.Advice = "try again when the provider answers, or give its keys with --jwks FILE"
		}
		return shown
	}
	shown.Advice = a.advice(c.Name)
	if about := []string{token.CheckAudience, token.CheckRequired, token.CheckClient}; slices.Contains(about, c.Name) && a.provider().Advice != "" {
		shown.Advice += "; " + a.provider().Advice // what its preset knows
	}
	return shown
}

func (a adviser) advice(check string) string {
	claims := a.diagnosis.Claims
	switch check {
	case token.CheckForm:
		return "get an access token, and copy all of it: a JWT has three parts with two dots between them; only a provider with tokens: opaque or any takes another"
	case token.CheckProvider:
		return fmt.Sprintf("the token was issued by %s; this configuration knows %s: get the token there, or add the provider", quoted(claims["iss"]), a.issuers())
	case token.CheckIssuer:
		return fmt.Sprintf("the token was issued by %s; this configuration expects %s, to the last slash", quoted(claims["iss"]), a.issuers())
	case token.CheckAudience:
		return fmt.Sprintf("the token was issued for audience %s; this API expects %s: ask for it with --audience %s", quoted(claims["aud"]), a.audiences(" or "), a.audience())
	case token.CheckRequired:
		return a.missing()
	case token.CheckExpiry:
		return fmt.Sprintf("it ended %s: get a new one, such as with scopeward login", a.when("exp"))
	case token.CheckNotBefore:
		return fmt.Sprintf("it counts from %s: wait, or set the clock of this machine or the provider; clock_skew allows %s", a.when("nbf"), a.provider().ClockSkew)
	case token.CheckIssuedAt:
		return fmt.Sprintf("it says that it was issued %s: set the clock of this machine or the provider; clock_skew allows %s", a.when("iat"), a.provider().ClockSkew)
	case token.CheckAlgorithm:
		return fmt.Sprintf("it is signed by %s; this configuration accepts %s: change it at the provider, or add it to algorithms if it is asymmetric", quoted(a.diagnosis.Header["alg"]), a.algorithms())
	case token.CheckPurpose:
		return "send the access_token of the provider's answer, not its id_token or refresh_token"
	case token.CheckSignature:
		return fmt.Sprintf("its key is %s: is the token of another environment, has the provider withdrawn the key, or was the token changed on its way?", quoted(a.diagnosis.Header["kid"]))
	case token.CheckClient:
		return "get it as a client that is configured (clients), or add the client; a subject must begin with subject_prefix"
	case token.CheckSetup:
		return "give the provider issuer and audiences in the configuration"
	case token.CheckAPIKey:
		return "copy the key again, whole; if it was lost, revoked or has expired, make another with scopeward apikey new"
	case token.CheckRevoked:
		return "get a new token if the entry has issued_before; else none counts until somebody removes the entry"
	case token.CheckValidation:
		return "get a new token: the provider may have revoked this one"
	}
	return "the provider makes such tokens: mend it there"
}

func (a adviser) missing() string {
	var names []string
	for _, name := range []string{"exp", "iss", "aud"} {
		if v, ok := a.diagnosis.Claims[name]; !ok || v == "" {
			names = append(names, name)
		}
	}
	advice := fmt.Sprintf("the token has no %s", strings.Join(names, " and no "))
	if slices.Contains(names, "aud") && len(a.provider().Audiences) > 0 {
		return fmt.Sprintf("%s; this API expects the audience %s: ask for it with --audience %s", advice, a.audiences(" or "), a.audience())
	}
	return advice + ": the provider must put it in"
}

// provider is the configuration of the one that takes the token.
func (a adviser) provider() config.Provider {
	for _, p := range a.config.Providers {
		if p.Name == a.diagnosis.Provider {
			return p
		}
	}
	return config.Provider{}
}

func (a adviser) audiences(between string) string {
	return strings.Join(a.provider().Audiences, between)
}

func (a adviser) audience() string {
	if all := a.provider().Audiences; len(all) > 0 {
		return all[0]
	}
	return "API"
}

func (a adviser) issuers() string {
	var all []string
	for _, p := range a.config.Providers {
		all = append(all, p.Issuer)
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

func (a adviser) algorithms() string {
	all := a.provider().Algorithms
	if len(all) == 0 {
		all = config.Asymmetric
	}
	return strings.Join(all, ", ")
}

func (a adviser) when(claim string) string {
	at, ok := dates(a.diagnosis.Claims)[claim]
	if !ok {
		return "at no time"
	}
	return fmt.Sprintf("%s (%s)", relative(at.Sub(a.now)), localTime(at))
}

// dates are the claims that are points in time (RFC 7519 §4.1, OpenID Connect Core §2).
func dates(claims map[string]any) map[string]time.Time {
	found := map[string]time.Time{}
	for name, value := range claims {
		seconds, ok := value.(int64)
		if fraction, isFloat := value.(float64); isFloat && math.Abs(fraction) < 253402300800 {
			seconds, ok = int64(fraction), true
		}
		if ok && slices.Contains([]string{"exp", "nbf", "iat", "auth_time", "updated_at"}, name) && max(seconds, -seconds) < 253402300800 {
			found[name] = time.Unix(seconds, 0)
		}
	}
	return found
}

func localTime(at time.Time) string { return at.Local().Format("2006-01-02 15:04:05 MST") }

// relative is a time from now in words: in 12 minutes, 3 days ago.
func relative(d time.Duration) string {
	size, unit := d.Abs(), ""
	for _, u := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if size >= u.length {
			unit = plural(int(size/u.length), u.name)
			break
		}
	}
	switch {
	case unit == "":
		return "now"
	case d < 0:
		return unit + " ago"
	default:
		return "in " + unit
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// quoted shows a value of the token's without letting it steer a terminal.
func quoted(value any) string {
	switch v := value.(type) {
	case nil:
		return "(none)"
	case string:
		return plainText(v)
	case []any:
		var all []string
		for _, element := range v {
			all = append(all, quoted(element))
		}
		return "[" + strings.Join(all, ", ") + "]"
	case map[string]any:
		var all []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			all = append(all, plainText(name)+": "+quoted(v[name]))
		}
		return "{" + strings.Join(all, ", ") + "}"
	case float64:
		if math.Abs(v) < 1e15 {
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	return fmt.Sprint(value)
}
