// Package season ends seasons.
package season

import "gameserverd/internal/tasks"

// Prize gives a player the prize of a rank. It returns the gold.
//
//task:queue low
func Prize(c *tasks.Call, uid uint64, rank int) (int64, error) {
	gold := int64(1000 / rank)
	_, err := c.Players.SendMail(uid, c.Mail("Season's end", gold), c.Key()).Wait(c)
	return gold, err
}
