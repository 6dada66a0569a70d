package redis

import (
	"cmp"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// DefaultTimeout is how long one call may take, if the URL doesn't say otherwise.
const DefaultTimeout = 50 * time.Millisecond

// URL says how to reach a Redis: redis://[[user]:password@]host[:port][/database],
// rediss:// for the same over TLS, or unix://[[user]:password@]/path. Several hosts,
// separated by commas, are the Sentinels of ?master_name=NAME or nodes of a Cluster
// (?cluster=true). The parameter timeout (?timeout=100ms) is how long a call may take. It
// shows itself without the passwords.
type URL struct {
	text     string // as it was written
	network  string
	addrs    []string
	user     string
	password string
	database int
	tls      *tls.Config
	timeout  time.Duration

	cluster                        bool
	master                         string // the name by which Sentinels know it; "" without Sentinels
	sentinelUser, sentinelPassword string
}

// ParseURL reads a URL. Errors don't repeat any of it: where a password is written
// wrongly, every part may be one.
func ParseURL(text string) (URL, error) {
	first, others := hosts(text)
	u, err := url.Parse(first)
	if err != nil || u.Fragment != "" || strings.Contains(text, "#") {
		return URL{}, errors.New("it is not a URL; special characters of a password are written as %23 for # and so on")
	}
	parsed := URL{text: text, timeout: DefaultTimeout}
	if u.User != nil {
		parsed.user = u.User.Username()
		parsed.password, _ = u.User.Password()
	}
	switch u.Scheme {
	case "redis", "rediss":
		err = parsed.tcp(u, others)
	case "unix":
		if parsed.network, parsed.addrs = "unix", []string{u.Path}; u.Host != "" || u.Path == "" {
			err = errors.New("a Unix socket is written with three slashes, unix:///path/to/redis.sock")
		}
	default:
		err = errors.New("it must begin with redis://, rediss:// (TLS) or unix://")
	}
	if err == nil {
		err = parsed.parameters(u)
	}
	if err != nil {
		return URL{}, err
	}
	return parsed, nil
}

// hosts gives the URL with the first of its hosts, and the others: net/url knows one.
func hosts(text string) (first string, others []string) {
	begin := strings.Index(text, "://") + len("://")
	if begin < len("://") {
		return text, nil
	}
	end := len(text)
	if i := strings.IndexAny(text[begin:], "/?#"); i >= 0 {
		end = begin + i
	}
	begin += strings.LastIndexByte(text[begin:end], '@') + 1
	list := strings.Split(text[begin:end], ",")
	return text[:begin] + list[0] + text[end:], list[1:]
}

func (u *URL) tcp(from *url.URL, others []string) error {
	query := from.Query()
	u.network, u.cluster, u.master = "tcp", query.Has("cluster"), query.Get("master_name")
	port := "6379"
	if u.master != "" {
		port = "26379"
	}
	for i, host := range append([]string{from.Host}, others...) {
		parsed, err := url.Parse("redis://" + host)
		switch {
		case err != nil || parsed.Host != host || parsed.User != nil:
			return errors.New("its hosts can't be read: they are separated by commas, as in redis://a:26379,b:26379?master_name=NAME")
		case parsed.Hostname() == "" && i == 0 && len(others) == 0:
			return errors.New("it names no host, as in redis://127.0.0.1:6379")
		case parsed.Hostname() == "":
			return errors.New("one of its hosts is empty: remove a comma")
		}
		addr := net.JoinHostPort(parsed.Hostname(), cmp.Or(parsed.Port(), port))
		if slices.Contains(u.addrs, addr) {
			return errors.New("one of its hosts is there twice")
		}
		u.addrs = append(u.addrs, addr)
	}
	if from.Scheme == "rediss" {
		u.tls = &tls.Config{MinVersion: tls.VersionTLS12} // the library puts in each host's name
	}
	name := strings.Trim(from.Path, "/")
	if name == "" {
		return nil
	}
	database, err := strconv.ParseUint(name, 10, 16)
	if err != nil {
		return errors.New("what follows the address must be the number of a database, as in redis://127.0.0.1:6379/1")
	}
	u.database = int(database)
	return nil
}

// parameterNames are those that a URL may have.
var parameterNames = []string{"timeout", "master_name", "sentinel_user", "sentinel_password", "cluster"}

func (u *URL) parameters(from *url.URL) error {
	query, err := url.ParseQuery(from.RawQuery)
	for name, values := range query {
		if !slices.Contains(parameterNames, name) || len(values) > 1 {
			err = errors.New("an unknown parameter, or one that is there twice")
		}
	}
	if err != nil {
		return errors.New("a parameter is not known, or is there twice; they are timeout, as in ?timeout=100ms, " +
			"master_name, sentinel_user and sentinel_password for Sentinel, and cluster")
	}
	u.sentinelUser, u.sentinelPassword = query.Get("sentinel_user"), query.Get("sentinel_password")
	switch sentinel := query.Has("master_name"); {
	case u.network == "unix" && (sentinel || query.Has("cluster")):
		return errors.New("a Unix socket is one server: it has neither master_name nor cluster")
	case sentinel && query.Get("master_name") == "":
		return errors.New("its master_name is empty: write the name by which the Sentinels know the master")
	case sentinel && query.Has("cluster"):
		return errors.New("it has master_name (Sentinel) and cluster: keep one")
	case query.Has("cluster") && query.Get("cluster") != "true":
		return errors.New("cluster must be true; leave it out for a single server")
	case query.Has("cluster") && u.database != 0:
		return errors.New("a Cluster has only the database 0: remove the number")
	case len(u.addrs) > 1 && !sentinel && !u.cluster:
		return errors.New("it names several hosts: write ?master_name=NAME if they are Sentinels, or ?cluster=true if they are nodes of a Cluster")
	case !sentinel && (query.Has("sentinel_user") || query.Has("sentinel_password")):
		return errors.New("sentinel_user and sentinel_password have no effect without master_name")
	}
	if !query.Has("timeout") {
		return nil
	}
	if u.timeout, err = time.ParseDuration(query.Get("timeout")); err != nil || u.timeout < time.Millisecond || u.timeout > 5*time.Second {
		return errors.New("its timeout must be a duration from 1ms to 5s")
	}
	return nil
}

// Set tells whether it says anything.
func (u URL) Set() bool { return u.text != "" }

// Same tells whether both lead to the same server in the same way.
func (u URL) Same(v URL) bool { return u.text == v.text }

// Readable tells whether others on the network can read what is said, the password included.
func (u URL) Readable() bool {
	if u.network != "tcp" || u.tls != nil {
		return false
	}
	return slices.ContainsFunc(u.addrs, func(addr string) bool {
		host, _, _ := net.SplitHostPort(addr)
		return host != "localhost" && !net.ParseIP(host).IsLoopback()
	})
}

// String is the addresses, without users and passwords.
func (u URL) String() string { return strings.Join(u.addrs, ",") }

// GoString is String's.
func (u URL) GoString() string { return u.String() }

// LogValue implements [slog.LogValuer].
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// clean is an error's text without what it may repeat of the credentials: Redis
// repeats the arguments of a command that it doesn't know, and AUTH may be one.
func (u URL) clean(err error) string {
	text, _, _ := strings.Cut(err.Error(), ", with args")
	for _, secret := range []string{u.password, u.sentinelPassword} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "(secret)")
		}
	}
	return text
}

// connect makes the library's client. It doesn't retry: a call that fails is answered
// from this process's memory, which is quicker. A Cluster's redirections are no retries.
func (u URL) connect() goredis.UniversalClient {
	o := &goredis.UniversalOptions{
		Addrs: u.addrs, Username: u.user, Password: u.password, DB: u.database, TLSConfig: u.tls,
		MasterName: u.master, SentinelUsername: u.sentinelUser, SentinelPassword: u.sentinelPassword, IsClusterMode: u.cluster,
		MaxRetries: -1, DialerRetries: 1, DialTimeout: probeTimeout, PoolTimeout: u.timeout / 2, PoolSize: poolSize, PipelinePoolSize: -1,
		ReadTimeout: probeTimeout, WriteTimeout: probeTimeout, ContextTimeoutEnabled: true,
		ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
		DisableIdentity: true, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if u.cluster || u.master != "" {
		return goredis.NewUniversalClient(o)
	}
	simple := o.Simple()
	simple.Network = u.network
	return goredis.NewClient(simple)
}
