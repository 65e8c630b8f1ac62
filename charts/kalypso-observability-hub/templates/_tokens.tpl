{{/* Tokens: which there are, and what the hub is told about them. */}}

{{/* The Secret that holds the token .name of the release .root. */}}
{{- define "koh.tokenSecretName" -}}
{{- printf "%s-token-%s" (include "koh.fullname" .root) .name -}}
{{- end }}

{{/* The Secret that holds the hashes, for the hub. */}}
{{- define "koh.tokensSecretName" -}}
{{- default (printf "%s-tokens" (include "koh.fullname" .)) .Values.auth.existingSecret -}}
{{- end }}

{{/* "true" where the chart makes tokens. */}}
{{- define "koh.makesTokens" -}}
{{- if and .Values.auth.enabled (not .Values.auth.existingSecret) -}}true{{- end -}}
{{- end }}

{{/* "true" where the chart makes the token .name. */}}
{{- define "koh.makesToken" -}}
{{- if include "koh.makesTokens" .root -}}
{{- range .root.Values.auth.generate -}}{{- if eq .name $.name -}}true{{- end -}}{{- end -}}
{{- end -}}
{{- end }}

{{/*
The text of the token .name: what its Secret holds, else a new one. SHA-256 of 64 random bytes are 256 bits that nobody guesses, in
the spelling of `koh token create`. Kept among the values, so that all templates of one rendering name the same.
*/}}
{{- define "koh.tokenText" -}}
{{- $texts := default dict .root.Values.tokenTexts -}}
{{- if not (hasKey $texts .name) -}}
{{- $secretName := include "koh.tokenSecretName" . -}}
{{- $secret := lookup "v1" "Secret" .root.Release.Namespace $secretName -}}
{{- $kept := dig "data" "token" "" $secret -}}
{{- if and $secret (not $kept) -}}
{{- fail (printf "The Secret %s has no key `token`. Delete it, and the chart makes a new token; or put the token there." $secretName) -}}
{{- end -}}
{{- $new := printf "koh_%s" (randBytes 64 | sha256sum) -}}
{{- $_ := set $texts .name (ternary (b64dec $kept) $new (ne $kept "")) -}}
{{- $_ := set .root.Values "tokenTexts" $texts -}}
{{- end -}}
{{- get $texts .name -}}
{{- end }}
