package page

import "time"

// State is the service at a glance, as GET /state shows it.
type State struct {
	Now     time.Time `json:"now"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`

	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // of /readyz

	Policy    Policy     `json:"policy"`
	Reload    Reload     `json:"reload"`
	Providers []Provider `json:"providers"`
	Cache     Cache      `json:"cache"`
	Limit     Limit      `json:"limit"`
	Load      Load       `json:"load"`
	Redis     []Redis    `json:"redis"`

	Decisions map[string]float64 `json:"decisions"` // by code, since the start
	History   []Step             `json:"history"`   // of the last 15 minutes, the oldest first
	Pages     Pages              `json:"pages"`
}

// Step is what was decided in a part of the last 15 minutes.
type Step struct {
	At      time.Time `json:"at"` // its end
	Allowed float64   `json:"allowed"`
	Denied  float64   `json:"denied"`
	P50     float64   `json:"p50"` // milliseconds; 0 without a decision
	P99     float64   `json:"p99"`
}

// Policy is what is in force.
type Policy struct {
	Version string    `json:"version"`
	Loaded  time.Time `json:"loaded"` // when this version came into force
	Rules   int       `json:"rules"`
	Shadow  string    `json:"shadow,omitempty"` // the version of the shadow policy
}

// Reload is what became of the files on disk.
type Reload struct {
	Good    time.Time `json:"good"`             // when they were last read and good
	Failed  time.Time `json:"failed,omitzero"`  // when they were last read, if they are broken now
	Errors  []string  `json:"errors"`           // each with file:line:column
	Restart []string  `json:"restart,omitzero"` // settings that have changed and need a restart
}

// Provider is an identity provider.
type Provider struct {
	Name       string     `json:"name"`
	Issuer     string     `json:"issuer"`
	Validation string     `json:"validation"`
	Keys       *Keys      `json:"keys,omitempty"` // nil where none are needed
	Endpoints  []Endpoint `json:"endpoints"`
}

// Keys are a provider's.
type Keys struct {
	Held       int     `json:"held"`
	AgeSeconds float64 `json:"ageSeconds"` // since the last good fetch; -1: there was none
	Reason     string  `json:"reason,omitempty"`
	Fault      *Fault  `json:"fault,omitempty"`
}

// Endpoint is one of a provider's URLs, such as jwks, profile or lookup.
type Endpoint struct {
	Name  string `json:"name"`
	Up    bool   `json:"up"`
	Fault *Fault `json:"fault,omitempty"`
}

// Fault is the last one that there was.
type Fault struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	Over   bool      `json:"over"` // all has been well since
}

// Cache is the identity cache's use; the look-ups are since the start.
type Cache struct {
	Identities int                `json:"identities"`
	Refusals   int                `json:"refusals"`
	Max        int                `json:"max"` // of each
	Lookups    map[string]float64 `json:"lookups"`
}

// Limit is the rate limit's use.
type Limit struct {
	Count   string  `json:"count"` // validations, requests or off
	Max     int     `json:"max"`
	Window  string  `json:"window"`
	Clients int     `json:"clients"` // that are counted now
	Refused float64 `json:"refused"` // since the start
}

// Load is how much there is to do.
type Load struct {
	InFlight     int64   `json:"inFlight"`
	Shed         float64 `json:"shed"`      // requests that got 503 at once, since the start
	Shedding     bool    `json:"shedding"`  // now
	AuditDropped float64 `json:"auditLost"` // events that were lost, since the start
}

// Redis is one of the uses of Redis.
type Redis struct {
	Use    string `json:"use"` // cache or rate_limit
	URL    string `json:"url"` // without user and password
	Up     bool   `json:"up"`
	Reason string `json:"reason,omitempty"`
}

// Pages are those whose stream is open.
type Pages struct {
	Open int `json:"open"`
	Max  int `json:"max"`
}

// Rule is one of the policy's, or none of them: requests that no rule matches.
type Rule struct {
	Place     string   `json:"place"` // file:line:column; empty: none of them
	Name      string   `json:"name,omitempty"`
	Policy    string   `json:"policy,omitempty"`
	Patterns  []string `json:"patterns"`
	Access    string   `json:"access"` // public, deny or token
	Scopes    []string `json:"scopes,omitempty"`
	AnyScopes []string `json:"anyScopes,omitempty"`
	Login     string   `json:"login,omitempty"` // how and when users must have signed in, in words
	When      string   `json:"when,omitempty"`
	Audit     bool     `json:"audit,omitempty"`

	Hits    uint64 `json:"hits"` // since the start, or the rule's first appearance
	Denied  uint64 `json:"denied"`
	WouldBe uint64 `json:"wouldBe"` // denials that were not enforced
}
