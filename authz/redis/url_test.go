package redis_test

import (
	"fmt"
	"strings"
	"testing"

	"scopeward/authz/redis"
)

func TestURLs(t *testing.T) {
	for text, want := range map[string]string{
		"redis://127.0.0.1:6379":                                               "127.0.0.1:6379",
		"redis://redis.example":                                                "redis.example:6379",
		"redis://[::1]":                                                        "[::1]:6379",
		"redis://:hunter2@redis.example:7000/3":                                "redis.example:7000",
		"rediss://scopeward:hunter2@redis.example/0":                           "redis.example:6379",
		"redis://redis.example?timeout=100ms":                                  "redis.example:6379",
		"unix:///run/redis.sock":                                               "/run/redis.sock",
		"redis://:hunter2@a,b:7000,[::1]/3?master_name=m":                      "a:26379,b:7000,[::1]:26379",
		"rediss://a,b?master_name=m&sentinel_user=s&sentinel_password=hunter2": "a:26379,b:26379",
		"redis://scopeward:hunter2@a:7000,b,c?cluster=true&timeout=1s":         "a:7000,b:6379,c:6379",
		"redis://a?cluster=true":                                               "a:6379",
		"unix://scopeward:hunter2@/run/redis.sock":                             "/run/redis.sock",
		"redis://:p%40ss%2Fw%23rd@redis.example:7000?":                         "redis.example:7000",
		"redis://scopeward:hunter2@[2001:db8::1]:7000/15":                      "[2001:db8::1]:7000",
	} {
		u, err := redis.ParseURL(text)
		if err != nil || u.String() != want {
			t.Errorf("%s: got %q, %v", text, u, err)
		}
		if shown := fmt.Sprintf("%v %+v %#v %s", u, u, u, u.LogValue()); strings.Contains(shown, "hunter2") {
			t.Errorf("%s shows its password: %s", text, shown)
		}
	}
}

// A mistake is told without what may be a part of the password.
func TestBadURLs(t *testing.T) {
	for text, want := range map[string]string{
		"":                                                 "must begin with redis://",
		"127.0.0.1:6379":                                   "it is not a URL",
		"http://hunter2@redis.example":                     "must begin with redis://",
		"hunter2":                                          "must begin with redis://",
		"redis://":                                         "names no host",
		"redis://:6379":                                    "names no host",
		"redis://:hunter2@":                                "names no host",
		"redis://:hunt/er2@redis.example":                  "it is not a URL; special characters of a password",
		"redis://:hunter2#@redis.example":                  "it is not a URL; special characters of a password",
		"redis://:hunter2?@redis.example":                  "it is not a URL",
		"redis://:hunter2@redis:port":                      "it is not a URL",
		"redis://redis.example/hunter2":                    "the number of a database",
		"redis://redis.example/1/2":                        "the number of a database",
		"redis://redis.example/-1":                         "the number of a database",
		"redis://redis.example?hunter2=1":                  "a parameter is not known, or is there twice",
		"redis://redis.example?timeout=1":                  "from 1ms to 5s",
		"redis://redis.example?timeout=0":                  "from 1ms to 5s",
		"redis://redis.example?timeout=1h&timeout=hunter2": "a parameter is not known, or is there twice",
		"redis://:hunter2@a,b":                             "several hosts",
		"redis://a,?cluster=true":                          "remove a comma",
		"redis://,a?cluster=true":                          "remove a comma",
		"redis://a,a:6379?cluster=true":                    "twice",
		"redis://a,b:port?cluster=true":                    "can't be read",
		"redis://a,b?master_name=":                         "master_name is empty",
		"redis://a,b?master_name=m&cluster=true":           "keep one",
		"redis://a,b?cluster=yes":                          "cluster must be true",
		"redis://a,b/1?cluster=true":                       "only the database 0",
		"redis://a?sentinel_password=hunter2":              "no effect without master_name",
		"unix:///run/redis.sock?cluster=true":              "one server",
		"redis://a?master_name=m&master_name=n":            "there twice",
		"unix://run/redis.sock":                            "three slashes",
		"unix://":                                          "three slashes",
	} {
		_, err := redis.ParseURL(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		} else if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "er2") {
			t.Errorf("%s: the error shows the password: %v", text, err)
		}
	}
}

func TestReadable(t *testing.T) {
	for text, want := range map[string]bool{
		"redis://redis.example": true, "redis://10.0.0.1": true, "redis://127.0.0.1,redis.example?cluster=true": true, "rediss://redis.example": false, "redis://localhost": false,
		"redis://127.0.0.2": false, "redis://[::1]": false, "unix:///run/redis.sock": false,
	} {
		if u, err := redis.ParseURL(text); err != nil || u.Readable() != want {
			t.Errorf("%s: got %v, %v", text, u.Readable(), err)
		}
	}
}
