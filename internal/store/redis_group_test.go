package store

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// certificates are files of an authority, a server's certificate for 127.0.0.1 and redis.test, and their keys.
type certificates struct{ ca, cert, key string }

func newCertificates(t testing.TB) certificates {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	server := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"redis.test"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	caKey, key := newKey(), newKey()
	ca, err := x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)
	c := certificates{ca: write("ca.pem", "CERTIFICATE", ca, err)}
	cert, err := x509.CreateCertificate(rand.Reader, server, authority, key.Public(), caKey)
	c.cert = write("cert.pem", "CERTIFICATE", cert, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	c.key = write("key.pem", "PRIVATE KEY", der, err)
	return c
}

// freePort is a port that nobody had a moment ago.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestRedisTLS(t *testing.T) {
	t.Parallel()
	c, other := newCertificates(t), newCertificates(t)
	port := freePort(t)
	server := storetest.RedisAlone(t, "--tls-port", port, "--tls-cert-file", c.cert, "--tls-key-file", c.key, "--tls-ca-cert-file", c.ca)
	url := func(options ...string) string { return "rediss://127.0.0.1:" + port + "?" + strings.Join(options, "&") }
	mine := []string{"cert_file=" + c.cert, "key_file=" + c.key} // the server asks for a certificate
	ca := "ca_file=" + c.ca

	r := openRedisRig(t, url(append(mine, ca)...), nil)
	for _, url := range []string{url(append(mine, ca, "server_name=redis.test")...), url(append(mine, "skip_verify=true")...)} {
		openRedisRig(t, url, nil).do(t, "INCR", "n")
	}
	if got := num(t, r.do(t, "GET", "n")); got != 2 {
		t.Errorf("counted to %d", got)
	}
	replies, err := wait(t, r.Batch(Command{"SET", "k", strings.Repeat("x", 1<<20)}, Command{"STRLEN", "k"}))
	if err != nil || num(t, replies[1]) != 1<<20 {
		t.Errorf("%v", err)
	}
	for what, url := range map[string]string{
		"another authority":         url(append(mine, "ca_file="+other.ca)...),
		"the system's authorities":  url(mine...),
		"another name":              url(append(mine, ca, "server_name=other.test")...),
		"no certificate":            url(ca),
		"somebody else's":           url(ca, "cert_file="+other.cert, "key_file="+other.key),
		"a port that talks no TLS":  "rediss://" + server.Addr + "?" + ca,
		"no TLS to a port of TLS's": "redis://127.0.0.1:" + port,
	} {
		bad := openRedisRig(t, url, func(o *RedisOptions) { o.Timeout = 400 * time.Millisecond })
		_, err := wait(t, bad.Execute("GET", "k"))
		wantAway(t, what, time.Now(), grace, err)
	}

	// Connections that the server's end has closed cost no call.
	for range 20 {
		r.do(t, "PING")
	}
	server.Kill()
	server.Start()
	r.do(t, "SET", "k", "v")
	r.quiet(t)
}

// startSentinel starts one that watches the master under the name "mymaster", and returns its address.
func startSentinel(t testing.TB, master string) string {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal(err) // RedisAlone has found it
	}
	host, port, _ := net.SplitHostPort(master)
	own := freePort(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "sentinel.conf")
	lines := []string{"port " + own, "bind 127.0.0.1", "dir " + dir, "requirepass sentinel-secret", "sentinel sentinel-pass sentinel-secret",
		"sentinel monitor mymaster " + host + " " + port + " 1", "sentinel down-after-milliseconds mymaster 300", "sentinel failover-timeout mymaster 2000"}
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, config, "--sentinel")
	if err := storetest.StartChild(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	})
	return "127.0.0.1:" + own
}

// admin is a client of a server itself, for what no test of ours would do.
func admin(t testing.TB, addr, password string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr, Password: password, MaintNotificationsConfig: noNotifications()})
	t.Cleanup(func() { c.Close() })
	return c
}

// TestRedisSentinel: the calls go on with the replica when the master is gone.
func TestRedisSentinel(t *testing.T) {
	t.Parallel()
	master := storetest.RedisAlone(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(master.Addr)
	replica := storetest.RedisAlone(t, "--replicaof", host+" "+port)
	follows := admin(t, replica.Addr, "")
	until(t, "the replica follows", func() bool {
		info, _ := follows.Info(context.Background(), "replication").Result()
		return strings.Contains(info, "master_link_status:up")
	})
	sentinel := startSentinel(t, master.Addr) // which asks for replicas at once, and then every ten seconds
	dialersGone(t)
	asks := admin(t, sentinel, "sentinel-secret")
	until(t, "the sentinel knows both", func() bool {
		info, _ := asks.Do(context.Background(), "INFO", "sentinel").Text()
		return strings.Contains(info, "status=ok") && strings.Contains(info, "slaves=1")
	})
	dead := "127.0.0.1:" + freePort(t) // not every sentinel has to be there
	r := openRedisRig(t, "redis-sentinel://"+dead+","+sentinel+"/3?master_name=mymaster&sentinel_password=sentinel-secret", nil)
	r.do(t, "SET", "k", "v")
	until(t, "the replica has it", func() bool {
		v, _ := openRedisRig(t, "redis://"+replica.Addr+"/3", nil).ExecuteContext(context.Background(), "GET", "k")
		return !v.Nil()
	})
	master.Kill()
	begun := time.Now()
	until(t, "the replica is the master", func() bool {
		_, err := wait(t, r.Execute("INCR", "n"))
		return err == nil
	})
	t.Logf("after %v", time.Since(begun))
	if got := str(t, r.do(t, "GET", "k")); got != "v" {
		t.Errorf("got %q", got)
	}
	wrong := openRedisRig(t, "redis-sentinel://"+sentinel+"?master_name=nobody&sentinel_password=sentinel-secret", nil)
	locked := openRedisRig(t, "redis-sentinel://"+sentinel+"?master_name=mymaster&sentinel_password=wrong", nil)
	for what, r := range map[string]*redisRig{"a name that the sentinel does not know": wrong, "a wrong password for the sentinel": locked} {
		begun := time.Now()
		_, err := wait(t, r.Execute("GET", "k"))
		wantAway(t, what, begun, grace, err)
		_, err = wait(t, r.Batch(Command{"GET", "k"}))
		wantAway(t, what+", a batch", begun, grace, err)
	}
}

// newCluster starts three nodes with a third of the slots each, where a node's absence is its own keys' only, and a fourth that stands
// by for the third.
func newCluster(t *testing.T) (servers [4]*storetest.Server, nodes [4]*redis.Client) {
	t.Helper()
	ctx := within(t, deadline)
	do := func(i int, cmd ...any) string {
		t.Helper()
		got, err := nodes[i].Do(ctx, cmd...).Text()
		if err != nil {
			t.Fatalf("node %d: %v: %v", i, cmd, err)
		}
		return got
	}
	var bus [4]string
	for i := range servers {
		bus[i] = freePort(t)
		servers[i] = storetest.RedisAlone(t, "--cluster-enabled", "yes", "--cluster-port", bus[i], "--cluster-node-timeout", "2000",
			"--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0")
		nodes[i] = admin(t, servers[i].Addr, "")
		if i < 3 {
			do(i, "CLUSTER", "ADDSLOTSRANGE", i*16384/3, (i+1)*16384/3-1)
		}
		do(i, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	for i := range servers {
		host, port, _ := net.SplitHostPort(servers[i].Addr)
		do(0, "CLUSTER", "MEET", host, port, bus[i])
	}
	for i := range nodes {
		until(t, "each node knows all", func() bool {
			info, _ := nodes[i].ClusterInfo(ctx).Result()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384") && strings.Contains(info, "cluster_known_nodes:4")
		})
	}
	do(3, "CLUSTER", "REPLICATE", do(2, "CLUSTER", "MYID"))
	until(t, "the fourth follows the third", func() bool {
		info, _ := nodes[3].Info(ctx, "replication").Result()
		return strings.Contains(info, "master_link_status:up")
	})
	return servers, nodes
}

// ownKeys returns a key on each node.
func ownKeys(t testing.TB, nodes [4]*redis.Client) (keys [3]string) {
	t.Helper()
	for n, missing := 0, 3; missing > 0; n++ {
		key := fmt.Sprint("key", n)
		slot, err := nodes[0].ClusterKeySlot(context.Background(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		for i := range keys {
			if keys[i] == "" && int(slot) >= i*16384/3 && int(slot) < (i+1)*16384/3 {
				keys[i] = key
				missing--
			}
		}
	}
	return keys
}

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	servers, nodes := newCluster(t)
	dialersGone(t)
	t.Run("never sends twice", func(t *testing.T) { clusterNeverSendsTwice(t, servers, nodes) })
	r := openRedisRig(t, "redis-cluster://"+servers[0].Addr+","+servers[1].Addr, func(o *RedisOptions) { o.PoolSize = 8 })
	keys := ownKeys(t, nodes)
	t.Run("commands go to their keys", func(t *testing.T) { clusterRoutes(t, r, keys) })
	t.Run("follows a slot that moves", func(t *testing.T) { clusterFollows(t, r, nodes) })
	r.quiet(t)
	t.Run("loses a node", func(t *testing.T) { clusterLosesANode(t, r, servers[2], nodes[3], keys) })
}

// clusterRoutes leaves 2 in {key}n, for each key.
func clusterRoutes(t *testing.T, r *redisRig, keys [3]string) {
	var cmds []Command
	for _, key := range keys {
		r.do(t, "SET", key, key)
		cmds = append(cmds, Command{"INCR", "{" + key + "}n"}, Command{"LPUSH", key, "x"})
	}
	replies, err := wait(t, r.Batch(cmds...))
	if err != nil {
		t.Fatal(err)
	}
	for i, reply := range replies {
		var refused *ReplyError
		if i%2 == 0 && num(t, reply) != 1 || i%2 == 1 && !errors.As(reply.Err, &refused) {
			t.Errorf("reply %d: %+v", i, reply)
		}
	}
	for _, key := range keys {
		reply, err := wait(t, r.Script(counting, []string{"{" + key + "}n"}, 1, ""))
		if all, _ := reply.Array(); err != nil || num(t, all[0]) != 2 {
			t.Errorf("%+v, %v", reply, err)
		}
	}
	var refused *ReplyError
	if _, err := wait(t, r.Execute("MGET", keys[0], keys[1])); !errors.As(err, &refused) || !strings.HasPrefix(refused.Message, "CROSSSLOT") {
		t.Errorf("keys of two nodes in one command: %v", err)
	}
}

func clusterFollows(t *testing.T, r *redisRig, nodes [4]*redis.Client) {
	ctx := within(t, deadline)
	slot, _ := nodes[0].ClusterKeySlot(ctx, "moves").Result()
	to := (int(slot)*3/16384 + 1) % 3
	id, err := nodes[to].ClusterMyID(ctx).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{to, 0, 1, 2} {
		if err := nodes[i].Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", id).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if got := num(t, r.do(t, "INCR", "moves")); got != 1 {
		t.Errorf("counted to %d", got)
	}
}

// clusterLosesANode: its keys are away, the others are there, until the node that stands by takes over.
func clusterLosesANode(t *testing.T, r *redisRig, server *storetest.Server, standby *redis.Client, keys [3]string) {
	server.Kill()
	until(t, "its keys are away", func() bool {
		_, err := wait(t, r.Execute("GET", keys[2]))
		return wire.CodeOf(err) == wire.Unavailable
	})
	replies, err := wait(t, r.Batch(Command{"GET", keys[0]}, Command{"GET", keys[1]}, Command{"GET", keys[2]}))
	if err != nil {
		t.Fatal(err)
	}
	for i, reply := range replies {
		if away := wire.CodeOf(reply.Err) == wire.Unavailable; away != (i == 2) || !away && str(t, reply) != keys[i] {
			t.Errorf("reply %d: %+v", i, reply)
		}
	}
	if err := standby.Do(context.Background(), "CLUSTER", "FAILOVER", "TAKEOVER").Err(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	until(t, "its keys are there again", func() bool {
		reply, err := wait(t, r.Execute("GET", "{"+keys[2]+"}n"))
		return err == nil && str(t, reply) == "2"
	})
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v to find the node that stands in", took)
	}
}

// clusterNeverSendsTwice, though its client is made to.
func clusterNeverSendsTwice(t *testing.T, servers [4]*storetest.Server, nodes [4]*redis.Client) {
	key := ownKeys(t, nodes)[1]
	link := storetest.Proxy(t, servers[1].Addr)
	announce := func(addr string) {
		_, port, _ := net.SplitHostPort(addr)
		if err := nodes[1].ConfigSet(context.Background(), "cluster-announce-port", port).Err(); err != nil {
			t.Fatal(err)
		}
		for i := range nodes {
			until(t, "all know the new address", func() bool {
				slots, _ := nodes[i].Do(context.Background(), "CLUSTER", "SLOTS").Result()
				return strings.Contains(fmt.Sprint(slots), strings.Replace(addr, ":", " ", 1))
			})
		}
	}
	announce(link.Addr)
	defer announce(servers[1].Addr)
	r := openRedisRig(t, "redis-cluster://"+servers[0].Addr, nil)
	for what, call := range map[string]func() error{
		"Execute": func() error { _, err := wait(t, r.Execute("INCR", key)); return err },
		"Batch":   func() error { _, err := wait(t, r.Batch(Command{"INCR", key}, Command{"GET", key})); return err },
		"Script":  func() error { _, err := wait(t, r.Script(counting, []string{key}, 1, "")); return err },
	} {
		_, _ = wait(t, r.Script(counting, []string{"{" + key + "}warm"}, 1, ""))
		if err := nodes[1].Set(context.Background(), key, 0, 0).Err(); err != nil {
			t.Fatal(err)
		}
		lost := link.LoseReply("\r\n" + key + "\r\n")
		wantCode(t, what, call(), wire.Unavailable)
		receive(t, lost.Met, "the loss of a reply")
		if got := nodes[1].Get(context.Background(), key).Val(); got != "1" {
			t.Errorf("%s: counted to %s", what, got)
		}
	}
}

func TestRedisClusterThatIsNone(t *testing.T) {
	r := openRedisRig(t, "redis-cluster://"+storetest.Redis(t).Addr, nil)
	begun := time.Now()
	if _, err := wait(t, r.Execute("GET", "k")); err == nil {
		t.Error("a single server was taken for a cluster")
	}
	r = openRedisRig(t, "redis-cluster://127.0.0.1:"+freePort(t), nil)
	_, err := wait(t, r.Execute("GET", "k"))
	wantAway(t, "nobody", begun, grace, err)
	_, err = wait(t, r.Batch(Command{"GET", "k"}))
	wantAway(t, "nobody, a batch", begun, grace, err)
}
