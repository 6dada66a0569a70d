package token

import (
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unique"

	"github.com/golang-jwt/jwt/v5"
)

// maxDate is the end of the year 9999, beyond which time.Time stops to behave.
const maxDate = 253402300799

// Rules say which claims a valid token has (RFC 7519 §4.1, RFC 9068 §4). The
// zero value refuses every token.
type Rules struct {
	Provider    string           // becomes Identity.Provider
	Issuer      string           // iss must equal it, byte by byte; required
	Audiences   []string         // aud must contain one of them
	ClockSkew   time.Duration    // tolerance for exp, nbf and iat; default none
	ScopeClaims []string         // the first that is present counts; default scope, scp
	Now         func() time.Time // default time.Now

	// AnyAudience accepts any aud, or none, when Audiences is empty.
	AnyAudience bool
	// Optional accepts claims without exp and iss; if present they are checked.
	Optional bool
}

// DefaultScopeClaims are where scopes are looked for if nothing else is
// configured: scope (RFC 8693 §4.2, RFC 9068 §2.2.3), then scp.
func DefaultScopeClaims() []string { return []string{"scope", "scp"} }

// Identity checks the claims and makes an identity of them. The error is an
// *[InvalidError].
func (r Rules) Identity(claims Claims) (*Identity, error) {
	registered, err := r.check(claims)
	if err != nil {
		return nil, err
	}
	id := &Identity{Provider: r.Provider, Issuer: r.Issuer}
	if err := id.readNames(claims); err != nil {
		return nil, err
	}
	// An address that the provider has not verified is whatever its user typed.
	if verified, present := claims.Get("email_verified"); present && verified != true && verified != "true" {
		id.Email = ""
	}
	scopes, err := r.scopes(claims)
	if err != nil {
		return nil, err
	}
	id.Scopes = scopes
	id.ClientID = unique.Make(id.ClientID).Value()
	if exp := registered.ExpiresAt; exp != nil {
		id.Expiry = exp.Time
	}
	id.SetClaims(claims)
	return id, nil
}

func (r Rules) check(claims Claims) (registered jwt.RegisteredClaims, err error) {
	if err := r.configured(); err != nil {
		return registered, err
	}
	if registered, err = claims.registered(); err != nil {
		return registered, err
	}
	if err := checkPurpose(claims); err != nil {
		return registered, err
	}
	if err := r.validate(registered, claims.Has("iss")); err != nil {
		return registered, &InvalidError{Reason: claimsReason(err)}
	}
	return registered, nil
}

func (r Rules) configured() error {
	if r.Issuer == "" || len(r.Audiences) == 0 && !r.AnyAudience {
		return Invalidf("no issuer or no audience is configured for this provider")
	}
	return nil
}

// validate holds exp, nbf, iat, iss and aud against the rules. The error holds those of
// all that are wrong.
func (r Rules) validate(registered jwt.RegisteredClaims, hasIssuer bool) error {
	options := []jwt.ParserOption{jwt.WithLeeway(r.ClockSkew), jwt.WithIssuedAt()}
	if r.Now != nil {
		options = append(options, jwt.WithTimeFunc(r.Now))
	}
	if !r.Optional {
		options = append(options, jwt.WithExpirationRequired())
	}
	if !r.Optional || hasIssuer {
		options = append(options, jwt.WithIssuer(r.Issuer))
	}
	if len(r.Audiences) > 0 {
		options = append(options, jwt.WithAudience(r.Audiences...))
	}
	return jwt.NewValidator(options...).Validate(registered)
}

// claimsReason says in words what the validator found, without its wrapping.
func claimsReason(err error) string {
	for _, known := range claimFaults() {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	return "its claims are not valid" // a fault that the validator has learned since
}

// claimFault is what the validator finds wrong with one claim.
type claimFault struct {
	err    error
	reason string
	check  string // where a [Diagnosis] tells it
}

// claimFaults are in the order in which they are told.
func claimFaults() []claimFault {
	return []claimFault{
		{jwt.ErrTokenInvalidIssuer, "it was issued by another issuer (iss)", CheckIssuer},
		{jwt.ErrTokenInvalidAudience, "it is meant for another audience (aud)", CheckAudience},
		{jwt.ErrTokenRequiredClaimMissing, "exp, iss or aud is missing", CheckRequired},
		{jwt.ErrTokenExpired, "it has expired (exp)", CheckExpiry},
		{jwt.ErrTokenNotValidYet, "it is not valid yet (nbf)", CheckNotBefore},
		{jwt.ErrTokenUsedBeforeIssued, "it was issued in the future (iat)", CheckIssuedAt},
	}
}

// registered decodes the claims that the validator looks at. It refuses claims of a type
// that the validator would take for absent.
func (c Claims) registered() (r jwt.RegisteredClaims, err error) {
	for _, date := range [...]struct {
		name string
		to   **jwt.NumericDate
	}{{"exp", &r.ExpiresAt}, {"nbf", &r.NotBefore}, {"iat", &r.IssuedAt}} {
		if *date.to, err = c.date(date.name); err != nil {
			return r, err
		}
	}
	if r.Audience, err = c.audience(); err != nil {
		return r, err
	}
	iss, present := c.Get("iss")
	issuer, ok := iss.(string)
	if present && !ok {
		return r, Invalidf("iss is not a string")
	}
	r.Issuer = issuer
	return r, nil
}

// date decodes a NumericDate (RFC 7519 §2). It refuses one that no clock will ever show:
// the validator would take zero for absent.
func (c Claims) date(name string) (*jwt.NumericDate, error) {
	v, present := c.Get(name)
	if !present {
		return nil, nil
	}
	date, ok := v.(float64)
	if !ok {
		return nil, Invalidf("%s is not a number", name)
	}
	if date < 0 || date > maxDate || name == "exp" && date < 1 {
		return nil, Invalidf("%s is not a date between 1970 and 9999", name)
	}
	return jwt.NewNumericDate(time.Unix(int64(date), 0)), nil
}

// audience decodes aud, a string or an array of strings (RFC 7519 §4.1.3).
func (c Claims) audience() (jwt.ClaimStrings, error) {
	if list, ok := c.Texts("aud"); ok {
		return list, nil
	}
	aud, present := c.Get("aud")
	text, ok := aud.(string)
	switch {
	case !present:
		return nil, nil
	case !ok:
		return nil, Invalidf("aud is neither a string nor an array of strings")
	default:
		return jwt.ClaimStrings{text}, nil
	}
}

// checkPurpose refuses tokens of the same provider, under the same keys, that
// were never meant for an API (RFC 8725 §2.8): ID tokens are told by the hashes
// of OpenID Connect Core §3.1.3.6 and §3.3.2.11, logout and security event
// tokens by events (RFC 8417 §2.2). Keycloak (typ) and Cognito (token_use) say
// it in claims of their own.
func checkPurpose(claims Claims) error {
	for _, name := range []string{"at_hash", "c_hash", "s_hash"} {
		if claims.Has(name) {
			return Invalidf("it is an ID token, not an access token (it has %s)", name)
		}
	}
	if claims.Has("events") {
		return Invalidf("it is a logout or event token, not an access token (it has events)")
	}
	for _, name := range []string{"typ", "token_use"} {
		switch strings.ToLower(claims.Text(name)) {
		case "id", "refresh", "offline", "logout":
			return Invalidf("it is not an access token (by its claim %s)", name)
		}
	}
	return nil
}

// readNames reads who the token stands for; client_id counts before azp.
func (id *Identity) readNames(claims Claims) error {
	for _, f := range []struct {
		name string
		to   *string
	}{{"azp", &id.ClientID}, {"client_id", &id.ClientID}, {"sub", &id.Subject}, {"email", &id.Email}} {
		if err := readName(claims, f.name, f.to); err != nil {
			return err
		}
	}
	return nil
}

// readName reads an optional claim that names somebody. Such names become
// headers and log fields, so controls of any kind make the token invalid.
func readName(claims Claims, name string, to *string) error {
	v, present := claims.Get(name)
	// Providers write null or "" for an e-mail address that a user does not have.
	if !present || name != "sub" && (v == nil || v == "") {
		return nil
	}
	s, ok := v.(string)
	switch {
	case !ok:
		return Invalidf("%s is not a string", name)
	case s == "":
		return Invalidf("%s is empty", name)
	case strings.ContainsFunc(s, isControl):
		return Invalidf("%s contains control characters", name)
	}
	*to = s
	return nil
}

// isControl includes C1, the line and paragraph separators, and the invisible
// format characters that make one name look like another.
func isControl(c rune) bool { return unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }

// scopes reads the first scope claim that is present: a string with spaces
// (RFC 8693 §4.2) or an array. A null is present: to skip it would turn what was
// granted (scope) into what was only asked for (scp).
func (r Rules) scopes(claims Claims) ([]string, error) {
	names := r.ScopeClaims
	if len(names) == 0 {
		names = DefaultScopeClaims()
	}
	i := slices.IndexFunc(names, func(name string) bool { return claims.Has(name) })
	if i < 0 {
		return nil, nil
	}
	list, ok := claims.Texts(names[i])
	if !ok {
		granted, _ := claims.Get(names[i])
		text, ok := granted.(string)
		if !ok {
			return nil, Invalidf("%s is neither a string nor an array of strings", names[i])
		}
		list = strings.Split(text, " ")
	}
	return cleanScopes(names[i], list)
}

// cleanScopes drops empty and repeated scopes and refuses malformed ones.
func cleanScopes(name string, list []string) ([]string, error) {
	var scopes []string
	seen := make(map[string]bool, len(list))
	for _, s := range list {
		if s == "" || seen[s] {
			continue
		}
		if !IsScope(s) {
			return nil, Invalidf("%s has a scope with characters that RFC 6749 does not allow", name)
		}
		seen[s] = true
		scopes = append(scopes, s)
	}
	return scopes, nil
}

// IsScope reports whether s is a scope-token of RFC 6749 §3.3.
func IsScope(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < 0x21 || c > 0x7E || c == '"' || c == '\\' })
}
