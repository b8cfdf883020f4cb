package rpcgen

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for _, test := range []struct {
		how       func(string) string
		name, out string
	}{
		{lowerCamel, "Top", "top"}, {lowerCamel, "GetAll", "getAll"}, {lowerCamel, "ID", "id"},
		{lowerCamel, "HTTPGet", "httpGet"}, {lowerCamel, "X", "x"}, {lowerCamel, "URLs", "urLs"},
		{lowerCamel, "V2Get", "v2Get"},
		{snake, "uid", "uid"}, {snake, "ifVersion", "if_version"}, {snake, "fromUID", "from_uid"},
		{snake, "HTTPCode", "http_code"}, {snake, "already_snake", "already_snake"}, {snake, "n2", "n2"}, {snake, "h_", "h_"},
		{upperCamel, "daily_reward", "DailyReward"}, {upperCamel, "room", "Room"}, {upperCamel, "a.b", "AB"},
	} {
		if got := test.how(test.name); got != test.out {
			t.Errorf("%q became %q, want %q", test.name, got, test.out)
		}
	}
	if got := clientName("room", "Members", false) + clientName("player", "PlayerView", false) + clientName("rpc", "MethodInfo", true); got != "RoomMembersPlayerViewMethodInfo" {
		t.Errorf("the copies are called %s", got)
	}
	if badName(strings.Repeat("a", 255)) != "" || badName(strings.Repeat("a", 256)) == "" {
		t.Error("a name may have 255 bytes")
	}
}
