package tokentest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Endpoints that look like those of known providers. Each needs what theirs needs.
const (
	HydraPath      = "/admin/oauth2/introspect" // Ory Hydra's introspection, which asks nobody who he is
	KubernetesPath = "/openid/v1/jwks"          // an API server's keys; the bearer token is ClientSecret
	SPIFFEPath     = "/spiffe/bundle"           // the keys of a trust domain, by their use (jwt-svid)
	KindeKeysPath  = "/api/v1/api_keys/verify"  // of Kinde's API keys, with a token of KindeTokenPath
	KindeTokenPath = "/oauth2/token"
	GooglePath     = "/tokeninfo"
	GitHubPath     = "/applications/" + ClientID + "/token"
)

// own is the token that KindeTokenPath gives.
const own = "token-of-the-management-api"

// serveAs answers as a known provider does, and reports whether one has the path.
func (p *Provider) serveAs(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case HydraPath:
		claims, ok := p.lookUp(r.PostFormValue("token"))
		answer(w, ok, http.StatusOK, claims, map[string]any{"active": false})
	case KubernetesPath:
		if bearer(r) != ClientSecret {
			writeJSON(w, http.StatusUnauthorized, map[string]any{"kind": "Status", "code": 401})
			break
		}
		fmt.Fprint(w, p.JWKS())
	case SPIFFEPath:
		fmt.Fprint(w, strings.ReplaceAll(p.JWKS(), `"use":"sig"`, `"use":"jwt-svid"`))
	case KindeTokenPath:
		id, secret, _ := r.BasicAuth()
		if id != url.QueryEscape(ClientID) || secret != url.QueryEscape(ClientSecret) || r.PostFormValue("audience") == "" {
			writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
			break
		}
		writeJSON(w, http.StatusOK, map[string]any{"access_token": own, "expires_in": 86399, "token_type": "bearer"})
	case KindeKeysPath:
		var asked struct {
			Key string `json:"api_key"`
		}
		if bearer(r) != own || json.NewDecoder(r.Body).Decode(&asked) != nil {
			writeJSON(w, http.StatusForbidden, map[string]any{"errors": []any{map[string]any{"code": "UNAUTHORIZED"}}})
			break
		}
		claims, ok := p.lookUp(asked.Key)
		answer(w, ok, http.StatusOK, claims, map[string]any{"code": "API_KEY_INVALID", "message": "API key is invalid", "is_valid": false})
	case GooglePath:
		claims, ok := p.lookUp(r.FormValue("access_token"))
		answer(w, ok, http.StatusBadRequest, claims, map[string]any{"error": "invalid_token", "error_description": "Invalid Value"})
	case GitHubPath:
		var asked struct {
			Token string `json:"access_token"`
		}
		if !isClient(r) || json.NewDecoder(r.Body).Decode(&asked) != nil {
			writeJSON(w, http.StatusUnauthorized, map[string]any{"message": "Bad credentials"})
			break
		}
		claims, ok := p.lookUp(asked.Token)
		answer(w, ok, http.StatusNotFound, claims, map[string]any{"message": "Not Found", "status": "404"})
	default:
		return false
	}
	return true
}

// answer gives what is known of a token, or a refusal with a status.
func answer(w http.ResponseWriter, known bool, status int, of, refusal map[string]any) {
	if known {
		status, refusal = http.StatusOK, of
	}
	writeJSON(w, status, refusal)
}

func bearer(r *http.Request) string {
	raw, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return raw
}
