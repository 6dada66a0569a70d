package redis

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// DefaultTimeout is how long one call may take, if the URL doesn't say otherwise.
const DefaultTimeout = 50 * time.Millisecond

// URL says how to reach a Redis: redis://[[user]:password@]host[:port][/database],
// rediss:// for the same over TLS, or unix://[[user]:password@]/path. The parameter
// timeout (?timeout=100ms) is how long a call may take. It shows itself without
// the password.
type URL struct {
	text     string // as it was written
	network  string
	addr     string
	user     string
	password string
	database int
	tls      *tls.Config
	timeout  time.Duration
}

// ParseURL reads a URL. Errors don't repeat any of it: where a password is written
// wrongly, every part may be one.
func ParseURL(text string) (URL, error) {
	u, err := url.Parse(text)
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
		err = parsed.tcp(u)
	case "unix":
		if parsed.network, parsed.addr = "unix", u.Path; u.Host != "" || u.Path == "" {
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

func (u *URL) tcp(from *url.URL) error {
	host, port := from.Hostname(), from.Port()
	if host == "" {
		return errors.New("it names no host, as in redis://127.0.0.1:6379")
	}
	if port == "" {
		port = "6379"
	}
	u.network, u.addr = "tcp", net.JoinHostPort(host, port)
	if from.Scheme == "rediss" {
		u.tls = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
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

func (u *URL) parameters(from *url.URL) error {
	query, err := url.ParseQuery(from.RawQuery)
	timeout := query["timeout"]
	delete(query, "timeout")
	if err != nil || len(query) > 0 || len(timeout) > 1 {
		return errors.New("the only parameter is timeout, as in ?timeout=100ms")
	}
	if len(timeout) == 0 {
		return nil
	}
	if u.timeout, err = time.ParseDuration(timeout[0]); err != nil || u.timeout < time.Millisecond || u.timeout > 5*time.Second {
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
	host, _, _ := net.SplitHostPort(u.addr)
	return host != "localhost" && !net.ParseIP(host).IsLoopback()
}

// String is the address, without user and password.
func (u URL) String() string { return u.addr }

// GoString and LogValue are String's.
func (u URL) GoString() string { return u.addr }

// LogValue implements [slog.LogValuer].
func (u URL) LogValue() slog.Value { return slog.StringValue(u.addr) }

// clean is an error's text without what it may repeat of the credentials: Redis
// repeats the arguments of a command that it doesn't know, and AUTH may be one.
func (u URL) clean(err error) string {
	text, _, _ := strings.Cut(err.Error(), ", with args")
	if u.password != "" {
		text = strings.ReplaceAll(text, u.password, "(secret)")
	}
	return text
}

// options are the library's. It doesn't retry: a call that fails is answered
// from this process's memory, which is quicker.
func (u URL) options() *goredis.Options {
	return &goredis.Options{
		Network: u.network, Addr: u.addr, Username: u.user, Password: u.password, DB: u.database, TLSConfig: u.tls,
		MaxRetries: -1, DialerRetries: 1, DialTimeout: probeTimeout, PoolTimeout: u.timeout / 2, PoolSize: poolSize, PipelinePoolSize: -1,
		ReadTimeout: probeTimeout, WriteTimeout: probeTimeout, ContextTimeoutEnabled: true,
		ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
		DisableIdentity: true, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}
