package store

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestRedisURLs(t *testing.T) {
	for url, want := range map[string]redisPlace{
		"embedded":                         {form: inProcess, addrs: []string{"embedded"}},
		"redis://h":                        {form: single, addrs: []string{"h:6379"}},
		"redis://h:1/":                     {form: single, addrs: []string{"h:1"}},
		"redis://10.0.0.1:6380/15":         {form: single, addrs: []string{"10.0.0.1:6380"}, db: 15},
		"redis://[::1]":                    {form: single, addrs: []string{"[::1]:6379"}},
		"redis://[fe80::1]:7/2":            {form: single, addrs: []string{"[fe80::1]:7"}, db: 2},
		"redis://:p%40%2F%3A%25+w@h":       {form: single, addrs: []string{"h:6379"}, password: "p@/:%+w"},
		"redis://user:pa@ss@h:1/3":         {form: single, addrs: []string{"h:1"}, user: "user", password: "pa@ss", db: 3},
		"unix:///run/redis.sock":           {form: single, addrs: []string{"/run/redis.sock"}},
		"redis+unix://u:p@/run/a%3Fb?db=4": {form: single, addrs: []string{"/run/a?b"}, user: "u", password: "p", db: 4},
		"redis-cluster://a,b:7,[::2]:8":    {form: nodes, addrs: []string{"a:6379", "b:7", "[::2]:8"}},
		"redis-sentinel://a?master_name=m": {form: sentinels, addrs: []string{"a:26379"}, master: "m"},
		"redis-sentinel://:p@a,b:9/6?master_name=m&sentinel_user=s&sentinel_password=q%26": {form: sentinels, addrs: []string{"a:26379", "b:9"}, password: "p", db: 6,
			master: "m", sentinelUser: "s", sentinelPassword: "q&"},
	} {
		got, err := parseRedisURL(url)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", url, got, err, want)
		}
	}
	for _, url := range []string{"rediss://h?server_name=other&skip_verify=false", "rediss-cluster://a,b", "rediss-sentinel://a?master_name=m&skip_verify=true"} {
		got, err := parseRedisURL(url)
		if err != nil || got.secure == nil {
			t.Errorf("%s: %+v, %v", url, got, err)
		} else if got.secure.config.InsecureSkipVerify != strings.HasSuffix(url, "=true") || (got.secure.config.ServerName == "other") != strings.Contains(url, "other") {
			t.Errorf("%s: %+v", url, got.secure.config)
		}
	}
}

// TestBadRedisURLs: each error says what is wrong, and none has a piece of the password, wherever that has ended up.
func TestBadRedisURLs(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"":                                       "no such form",
		"localhost:6379":                         "no such form",
		"http://:hunzqz@h":                       "want embedded, redis://",
		"Embedded":                               "no such form",
		"hunzqz://h":                             "no such form",
		"redis://":                               "host 1 of 1 is empty",
		"redis://:hunzqz@":                       "host 1 of 1 is empty",
		"redis://h:0":                            "no number from 1 to 65535",
		"redis://h:65536":                        "no number from 1 to 65535",
		"redis://h:x":                            "no number from 1 to 65535",
		"redis://u:hunzqz/9@h":                   "no number from 1 to 65535",
		"redis://u:hunzqz#9@h":                   "a # or a blank",
		"redis://u:hunzqz?9@h":                   "no number from 1 to 65535",
		"redis://u:hunzqz%9@h":                   "two hex digits",
		"redis://u:hun:zqz@h":                    "more than one :",
		"redis://u:6379/hunzqz@h":                "database behind the host is a number",
		"redis://hunzqz@h":                       "user:password or :password",
		"redis://u:@h":                           "user:password or :password",
		"redis://::1":                            "IPv6 addresses stand in brackets",
		"redis://[::1":                           "no IPv6 address",
		"redis://[h]:1":                          "no IPv6 address",
		"redis://[::1]1":                         "no number from 1 to 65535",
		"redis://a b":                            "a # or a blank",
		"redis://a,b":                            "more than one host",
		"redis://:hun,zqz@h,g":                   "more than one host",
		"redis://h/x":                            "database behind the host is a number",
		"redis://h/-1":                           "database behind the host is a number",
		"redis://h/1/2":                          "database behind the host is a number",
		"redis://h?db=1":                         "redis:// takes no options",
		"redis://h?hunzqz":                       "redis:// takes no options",
		"redis://h?%zz":                          "name=value&name=value",
		"redis://h?ca_file=x":                    "redis:// takes no options",
		"rediss://h?hunzqz=1":                    "which are ca_file, cert_file, key_file, server_name, skip_verify",
		"rediss://h?ca_file=/nowhere/x":          "ca_file: open /nowhere/x: no such file",
		"rediss://h?ca_file=" + empty:            "no certificate in",
		"rediss://h?cert_file=x":                 "given together",
		"rediss://h?cert_file=x&key_file=y":      "cert_file and key_file: open x",
		"rediss://h?skip_verify=1":               "skip_verify is true or false",
		"rediss://h?server_name=":                "option server_name is empty",
		"rediss://h?server_name=a&server_name=b": "option server_name is there twice",
		"unix://host/path":                       "three slashes",
		"unix://":                                "path of the unix socket is missing",
		"unix:///":                               "path of the unix socket is missing",
		"unix:///%":                              "two hex digits",
		"unix:///p?db=x":                         "database behind the host is a number",
		"redis-cluster://a/0":                    "a cluster has no databases",
		"redis-cluster://a,":                     "host 2 of 2 is empty",
		"redis-cluster://a,a:6379":               "host 2 of 2 is there twice",
		"redis-sentinel://a":                     "?master_name=",
		"redis-sentinel://a?master_name=m&sentinel_user=u":      "sentinel_user needs sentinel_password",
		"redis-sentinel://a?master_name=m&sentinel_pass=hunzqz": "which are master_name, sentinel_user, sentinel_password",
	} {
		_, err := OpenRedis(RedisOptions{URL: url})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want ...%s...", url, err, want)
		} else if strings.Contains(err.Error(), "hun") || strings.Contains(err.Error(), "zqz") || !strings.HasPrefix(err.Error(), "store: redis URL: ") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestBadRedisOptions(t *testing.T) {
	dial := func(context.Context) (net.Conn, error) { return nil, errors.New("not called") }
	for _, o := range []RedisOptions{
		{URL: "embedded"},
		{URL: "redis://h", Dial: dial},
		{URL: "redis://h", PoolSize: -1},
		{URL: "redis://h", Queue: -1},
		{URL: "redis://h", Timeout: -time.Second},
	} {
		if _, err := OpenRedis(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// FuzzRedisURL: no URL is a panic, and an error never holds the password.
func FuzzRedisURL(f *testing.F) {
	for _, seed := range []string{"redis://u:%s@h:1/2", "rediss://:%s@h?ca_file=%s", "unix://u:%s@/p?db=1", "redis-sentinel://%s@a,b?sentinel_password=%s&master_name=m", "%s://%s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, form string) {
		const password = "Zq7password"
		before, after, _ := strings.Cut(form, "ca_file")
		if strings.Contains(after, "%s") {
			return // a file is named in its error
		}
		_, err := parseRedisURL(strings.ReplaceAll(before, "%s", password) + after)
		if err != nil && strings.Contains(err.Error(), "Zq7") {
			t.Errorf("%q: %v", form, err)
		}
	})
}
