package token

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
	Provider      string           // becomes Identity.Provider
	Issuer        string           // iss must equal it, byte by byte; required
	Issuers       []Issuer         // or be one of these
	Clients       []string         // of azp, client_id, appid and cid, one must be there, and each be one of them
	SubjectPrefix string           // sub must begin with it; then iss may be missing
	Audiences     []string         // aud must contain one of them
	ClockSkew     time.Duration    // tolerance for exp, nbf and iat; default none
	ScopeClaims   ScopeClaims      // default scope, scp
	Now           func() time.Time // default time.Now

	// AnyAudience accepts any aud, or none, when Audiences is empty.
	AnyAudience bool
	// Optional accepts claims without exp and iss; if present they are checked.
	Optional bool
	// AnyPurpose accepts ID tokens, too.
	AnyPurpose bool
	// MustBeBound refuses tokens that nothing but their possession is asked for.
	MustBeBound bool
	Email       EmailRule

	header purpose // see For
}

// EmailRule says which e-mail address becomes the identity's.
type EmailRule string

// The rules for e-mail addresses.
const (
	EmailVerified         EmailRule = "verified"          // if email_verified says that it is
	EmailUnlessUnverified EmailRule = "unless_unverified" // unless email_verified says that it is not; also ""
	EmailAny              EmailRule = "any"
)

// Identity checks the claims and makes an identity of them. The error is an
// *[InvalidError].
func (r Rules) Identity(claims Claims) (*Identity, error) {
	registered, err := r.check(claims)
	if err != nil {
		return nil, err
	}
	id := &Identity{Provider: r.Provider, Issuer: r.forIssuer(claims).Issuer}
	if id.Bound, err = r.binding(claims); err != nil {
		return nil, err
	}
	if err := id.readNames(claims); err != nil {
		return nil, err
	}
	id.Email = r.EmailOf(id.Email, claims)
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

// binding is what the token is bound to.
func (r Rules) binding(claims Claims) (*Binding, error) {
	b, err := claims.Binding()
	if err == nil && b == nil && r.MustBeBound {
		return nil, Invalidf("it is a mere bearer token (it has no cnf), and the provider's binding is required")
	}
	return b, err
}

func (r Rules) check(claims Claims) (registered jwt.RegisteredClaims, err error) {
	if err := r.configured(); err != nil {
		return registered, err
	}
	if registered, err = claims.registered(); err != nil {
		return registered, err
	}
	if err := r.CheckPurpose(claims); err != nil {
		return registered, err
	}
	if err := r.forIssuer(claims).validate(registered, claims.States("iss")); err != nil {
		return registered, &InvalidError{Reason: r.reason(err, registered)}
	}
	if err := r.checkClients(claims); err != nil {
		return registered, err
	}
	if err := r.checkSubject(claims); err != nil {
		return registered, err
	}
	return registered, nil
}

// EmailOf is the address, or nothing if these claims, of which the last are the freshest,
// do not say enough for it: an address that the provider has not verified is whatever its
// user typed.
func (r Rules) EmailOf(address string, claims ...Claims) string {
	known, verified := false, false
	for _, c := range claims {
		says, present := c.Get("email_verified")
		yes := says == true || says == "true"
		if about := c.Text("email"); !present || yes && about != "" && about != address {
			continue // it says nothing, or of another address
		}
		known, verified = true, yes
	}
	switch r.Email {
	case EmailAny:
		return address
	case EmailUnlessUnverified, "":
		verified = verified || !known
	}
	if !verified {
		return ""
	}
	return address
}

// forIssuer are the rules for a token of one of the Issuers.
func (r Rules) forIssuer(claims Claims) Rules {
	if len(r.Issuers) == 0 {
		return r
	}
	iss := claims.Text("iss")
	if iss != r.Issuer && slices.ContainsFunc(r.Issuers, func(i Issuer) bool { return i.takes(iss, claims) }) {
		r.Issuer = iss
	}
	return r
}

func (r Rules) checkSubject(claims Claims) error {
	if !strings.HasPrefix(claims.Text("sub"), r.SubjectPrefix) {
		return Invalidf("its subject (sub) does not begin with the subject_prefix of the provider")
	}
	return nil
}

func (r Rules) configured() error {
	noIssuer := r.Issuer == "" && len(r.Issuers) == 0 && r.SubjectPrefix == ""
	if noIssuer || len(r.Audiences) == 0 && len(r.Clients) == 0 && !r.AnyAudience {
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
	if !r.Optional && r.SubjectPrefix == "" || hasIssuer {
		options = append(options, jwt.WithIssuer(cmp.Or(r.Issuer, "(none)")))
	}
	if len(r.Audiences) > 0 {
		options = append(options, jwt.WithAudience(r.Audiences...))
	}
	return jwt.NewValidator(options...).Validate(registered)
}

// reason says in words what the validator found, without its wrapping.
func (r Rules) reason(err error, claims jwt.RegisteredClaims) string {
	for _, known := range claimFaults() {
		if errors.Is(err, known.err) {
			return known.reason(r, claims)
		}
	}
	return "its claims are not valid" // a fault that the validator has learned since
}

// claimFault is what the validator finds wrong with one claim.
type claimFault struct {
	err    error
	reason func(Rules, jwt.RegisteredClaims) string
	check  string // where a [Diagnosis] tells it
}

// claimFaults are in the order in which they are told.
func claimFaults() []claimFault {
	always := func(reason string) func(Rules, jwt.RegisteredClaims) string {
		return func(Rules, jwt.RegisteredClaims) string { return reason }
	}
	return []claimFault{
		{jwt.ErrTokenInvalidIssuer, always("it was issued by another issuer (iss)"), CheckIssuer},
		{jwt.ErrTokenInvalidAudience, Rules.otherAudience, CheckAudience},
		{jwt.ErrTokenRequiredClaimMissing, Rules.missing, CheckRequired},
		{jwt.ErrTokenExpired, always("it has expired (exp)"), CheckExpiry},
		{jwt.ErrTokenNotValidYet, always("it is not valid yet (nbf)"), CheckNotBefore},
		{jwt.ErrTokenUsedBeforeIssued, always("it was issued in the future (iat)"), CheckIssuedAt},
	}
}

func (r Rules) otherAudience(claims jwt.RegisteredClaims) string {
	return fmt.Sprintf("it is meant for another audience (aud): it has %s, and must have %s", someOf(claims.Audience), someOf(r.Audiences))
}

func (r Rules) missing(claims jwt.RegisteredClaims) string {
	var names []string
	if claims.ExpiresAt == nil && !r.Optional {
		names = append(names, "exp")
	}
	if claims.Issuer == "" && !r.Optional && r.SubjectPrefix == "" {
		names = append(names, "iss")
	}
	if strings.Join(claims.Audience, "") == "" && len(r.Audiences) > 0 {
		names = append(names, "aud (it must have "+someOf(r.Audiences)+")")
	}
	return "it has no " + strings.Join(names, " and no ")
}

// someOf shows a few names, whoever wrote them, without letting them steer what shows them.
func someOf(names []string) string {
	const most, longest = 3, 80
	var shown []string
	for _, name := range names[:min(len(names), most)] {
		if len(name) > longest {
			name = strings.ToValidUTF8(name[:longest], "") + "…"
		}
		shown = append(shown, strconv.QuoteToGraphic(name))
	}
	if more := len(names) - most; more > 0 {
		shown = append(shown, fmt.Sprintf("%d more", more))
	}
	return strings.Join(shown, ", ")
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
	iss, _ := c.Get("iss")
	issuer, ok := iss.(string)
	if iss != nil && !ok {
		return r, Invalidf("iss is not a string")
	}
	r.Issuer = issuer
	return r, nil
}

// date decodes a NumericDate (RFC 7519 §2). It refuses one that no clock will ever show:
// the validator would take zero for absent.
func (c Claims) date(name string) (*jwt.NumericDate, error) {
	if !c.States(name) {
		return nil, nil
	}
	date, ok := c.seconds(name)
	if !ok {
		return nil, Invalidf("%s is not a number", name)
	}
	if date < 0 || date > maxDate || name == "exp" && date < 1 {
		return nil, Invalidf("%s is not a date between 1970 and 9999", name)
	}
	return jwt.NewNumericDate(time.Unix(int64(date), 0)), nil
}

func (c Claims) seconds(name string) (float64, bool) {
	text, _ := c.find(name)
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil
}

// LenientDates reads the dates of introspection answers as some providers write them: as
// text of digits, and an exp of zero for none.
func (c Claims) LenientDates() Claims {
	for _, name := range []string{"exp", "iat", "nbf"} {
		if n, err := strconv.ParseUint(c.Text(name), 10, 63); err == nil {
			c = c.with(name, strconv.FormatUint(n, 10))
		}
	}
	if exp, ok := c.seconds("exp"); ok && exp == 0 {
		c = c.Without("exp")
	}
	return c
}

// audience decodes aud, a string or an array of strings (RFC 7519 §4.1.3).
func (c Claims) audience() (jwt.ClaimStrings, error) {
	if list, others, ok := c.Texts("aud"); ok && !others {
		return list, nil
	}
	aud, _ := c.Get("aud")
	text, ok := aud.(string)
	switch {
	case aud == nil:
		return nil, nil
	case !ok:
		return nil, Invalidf("aud is neither a string nor an array of strings")
	default:
		return jwt.ClaimStrings{text}, nil
	}
}

// readNames reads who the token stands for; client_id counts before azp.
func (id *Identity) readNames(claims Claims) error {
	for _, f := range []struct {
		name string
		to   *string
	}{{"cid", &id.ClientID}, {"appid", &id.ClientID}, {"azp", &id.ClientID}, {"client_id", &id.ClientID}, {"email", &id.Email}} {
		name, sound, err := readName(claims, f.name)
		if err != nil {
			return err
		}
		if sound { // what is optional is absent if it is no name
			*f.to = name
		}
	}
	if !claims.States("sub") {
		return nil
	}
	name, sound, err := readName(claims, "sub")
	switch {
	case err != nil:
		return err
	case sound:
		id.Subject = name
		return nil
	case name == "":
		return Invalidf("sub is empty, or not a string")
	default:
		return Invalidf("sub has white space at an end, where others cut it off")
	}
}

// readName reads a claim that names somebody; sound reports whether it does. Such names
// become headers and log fields, so controls of any kind make the token invalid.
func readName(claims Claims, name string) (text string, sound bool, err error) {
	text = claims.Text(name)
	if strings.ContainsFunc(text, isControl) {
		return "", false, Invalidf("%s contains control characters", name)
	}
	return text, text != "" && !spaceAtEnds(text), nil
}

// spaceAtEnds reports whether text begins or ends with white space, which HTTP, or who
// reads a header, would cut off.
func spaceAtEnds(text string) bool { return strings.TrimFunc(text, isSpace) != text }

// isSpace includes what is blank without being called a space: Hangul fillers and an
// empty Braille cell.
func isSpace(c rune) bool {
	return unicode.IsSpace(c) || unicode.Is(unicode.Z, c) || strings.ContainsRune("\u115f\u1160\u2800\u3164\uffa0", c)
}

// isControl includes C1, the line and paragraph separators, and the invisible
// format characters that make one name look like another.
func isControl(c rune) bool { return unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }
