package diff

import (
	"strconv"
	"time"

	"scopeward/policy"
)

// asked is when all requests are made that are tried: logins are told by their age, so that
// what is shown for one time holds for each. It is in whole seconds, as the claims are.
var asked = time.Unix(1_700_000_000, 0)

// loginNeeds gives what a rule asks of the user's login.
func loginNeeds(rule *policy.Rule) []*need {
	var all, some []*need
	for _, acr := range rule.ACR {
		some = append(some, needFact(fact{kind: hasACR, key: acr, words: "a login by " + acr}))
	}
	if len(some) > 0 {
		all = append(all, needParts(anyOf, some...))
	}
	if rule.MaxAge > 0 {
		seconds := strconv.Itoa(int(rule.MaxAge / time.Second))
		all = append(all, needFact(fact{kind: signedIn, key: seconds, words: rule.MaxAgeWords(), age: rule.MaxAge}))
	}
	return all
}
