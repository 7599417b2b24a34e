package admin

import (
	"cmp"
	"strings"
)

// words are the page's texts in one language. %w stands for the workflow or tenant, %c for
// the channel, as "by e-mail".
type words struct {
	Lang string
	Ask, Get, Stop,
	Stopped, GetNone, Begin,
	StopAll, AllStopped, BeginAll,
	From, Done,
	Invalid, InvalidHelp, Later, LaterHelp string
	Channels map[string]string
	Through  string // any other channel; %w is its name
}

func (w *words) channel(kind string) string {
	return cmp.Or(w.Channels[kind], strings.ReplaceAll(w.Through, "%w", kind))
}

// fill puts a name and a channel into a text, at once: a name may look like a place.
func fill(text, name, channel string) string {
	return strings.NewReplacer("%w", name, "%c", channel).Replace(text)
}

// allWords begins with the language of those who read none of them.
var allWords = []*words{
	{
		Lang: "en",
		Ask:  "Stop these messages?", Get: "You get messages of “%w” %c.", Stop: "Stop these messages",
		Stopped: "These messages are stopped", GetNone: "You get no messages of “%w” %c any more.", Begin: "Get them again",
		StopAll: "Stop all messages %c", AllStopped: "All other messages %c are stopped.", BeginAll: "Get messages %c again",
		From: "Sender: %w", Done: "Your choice is saved.",
		Invalid: "This link is not valid", InvalidHelp: "It may have been cut. Please open it again from the message, or copy all of it.",
		Later: "Please try again later", LaterHelp: "Nothing was changed. Please try again in a minute.",
		Channels: map[string]string{"email": "by e-mail", "notification": "in the app", "chat": "by chat"}, Through: "by %w",
	},
	{
		Lang: "de",
		Ask:  "Diese Nachrichten abbestellen?", Get: "Sie erhalten Nachrichten von „%w“ %c.", Stop: "Diese Nachrichten abbestellen",
		Stopped: "Diese Nachrichten sind abbestellt", GetNone: "Sie erhalten keine Nachrichten von „%w“ %c mehr.", Begin: "Wieder erhalten",
		StopAll: "Alle Nachrichten %c abbestellen", AllStopped: "Alle anderen Nachrichten %c sind abbestellt.", BeginAll: "Nachrichten %c wieder erhalten",
		From: "Absender: %w", Done: "Ihre Auswahl ist gespeichert.",
		Invalid: "Dieser Link ist ungültig", InvalidHelp: "Vielleicht wurde er abgeschnitten. Bitte öffnen Sie ihn noch einmal aus der Nachricht, oder kopieren Sie ihn ganz.",
		Later: "Bitte versuchen Sie es später noch einmal", LaterHelp: "Es wurde nichts geändert. Bitte versuchen Sie es in einer Minute noch einmal.",
		Channels: map[string]string{"email": "per E-Mail", "notification": "in der App", "chat": "per Chat"}, Through: "über %w",
	},
	{
		Lang: "fr",
		Ask:  "Ne plus recevoir ces messages ?", Get: "Vous recevez les messages de « %w » %c.", Stop: "Ne plus recevoir ces messages",
		Stopped: "Vous ne recevez plus ces messages", GetNone: "Vous ne recevez plus les messages de « %w » %c.", Begin: "Les recevoir à nouveau",
		StopAll: "Ne plus recevoir aucun message %c", AllStopped: "Vous ne recevez plus aucun autre message %c.", BeginAll: "Recevoir à nouveau les messages %c",
		From: "Expéditeur : %w", Done: "Votre choix est enregistré.",
		Invalid: "Ce lien n’est pas valable", InvalidHelp: "Il a peut-être été coupé. Ouvrez-le de nouveau depuis le message, ou copiez-le en entier.",
		Later: "Veuillez réessayer plus tard", LaterHelp: "Rien n’a été modifié. Veuillez réessayer dans une minute.",
		Channels: map[string]string{"email": "par e-mail", "notification": "dans l’application", "chat": "par messagerie"}, Through: "par %w",
	},
	{
		Lang: "es",
		Ask:  "¿Dejar de recibir estos mensajes?", Get: "Recibe los mensajes de «%w» %c.", Stop: "Dejar de recibir estos mensajes",
		Stopped: "Ya no recibe estos mensajes", GetNone: "Ya no recibe los mensajes de «%w» %c.", Begin: "Volver a recibirlos",
		StopAll: "Dejar de recibir todos los mensajes %c", AllStopped: "Ya no recibe ningún otro mensaje %c.", BeginAll: "Volver a recibir los mensajes %c",
		From: "Remitente: %w", Done: "Su elección se ha guardado.",
		Invalid: "Este enlace no es válido", InvalidHelp: "Puede que esté cortado. Ábralo de nuevo desde el mensaje o cópielo entero.",
		Later: "Inténtelo de nuevo más tarde", LaterHelp: "No se ha cambiado nada. Inténtelo de nuevo dentro de un minuto.",
		Channels: map[string]string{"email": "por correo electrónico", "notification": "en la aplicación", "chat": "por chat"}, Through: "por %w",
	},
}
