{{/*
The alerts of Prometheus: the generated rules as they are, but for those that are left out or have another threshold. The latter are
made from the list of alerts, as `koh grafana generate` makes them.
*/}}
{{- define "koh.prometheusRules" -}}
{{- $values := .Values.metrics.prometheusRule -}}
{{- $text := .Files.Get "files/prometheus-rules.yaml" -}}
{{- $rules := fromYaml $text -}}
{{- $names := list -}}
{{- range $rules.groups -}}
{{- range .rules -}}
{{- $names = append $names .alert -}}
{{- end -}}
{{- end -}}
{{- range concat $values.disabled (keys $values.thresholds) -}}
{{- if not (has . $names) -}}
{{- fail (printf "metrics.prometheusRule: there is no alert %q. There are: %s" . (join ", " $names)) -}}
{{- end -}}
{{- end -}}
{{- $changed := include "koh.changedAlerts" . | fromYaml -}}
{{- if not (or $changed $values.disabled) -}}
{{- $text -}}
{{- else -}}
{{- range $rules.groups -}}
{{- $kept := list -}}
{{- range .rules -}}
{{- $rule := . -}}
{{- with get $changed .alert -}}
{{- $_ := set $rule "expr" .expr -}}
{{- $_ := set $rule "annotations" .annotations -}}
{{- end -}}
{{- if not (has .alert $values.disabled) -}}
{{- $kept = append $kept $rule -}}
{{- end -}}
{{- end -}}
{{- $_ := set . "rules" $kept -}}
{{- end -}}
{{- toYaml $rules -}}
{{- end -}}
{{- end }}

{{/* What is different of the alerts whose threshold is another one, by name. */}}
{{- define "koh.changedAlerts" -}}
{{- $thresholds := dict -}}
{{- if .Values.backups.enabled -}}
{{- /* A backup may be late by as much as lies between two of them, and by a day at least. */ -}}
{{- $every := include "koh.seconds" .Values.backups.every | atoi -}}
{{- $_ := set $thresholds "KohBackupOld" (add $every (max $every 86400)) -}}
{{- end -}}
{{- $said := .Values.metrics.prometheusRule.thresholds -}}
{{- $thresholds = merge (dict) $said $thresholds -}}
{{- $flags := list "KohHubDown" "KohHubReadOnly" "KohSourceBroken" "KohArchiveLost" "KohFileRefused" -}}
{{- $alerts := dict -}}
{{- range (.Files.Get "files/alerts.yaml" | fromYaml).alerts -}}
{{- if and .prometheus (hasKey $thresholds .name) -}}
{{- $threshold := get $thresholds .name -}}
{{- $alert := . -}}
{{- if or (hasKey $said .name) (ne (float64 $threshold) (float64 .threshold)) -}}
{{- if has .name $flags -}}
{{- fail (printf "metrics.prometheusRule.thresholds: %s is about what is so or not, and has no threshold; it can be left out by metrics.prometheusRule.disabled" .name) -}}
{{- end -}}
{{- $number := ternary (int64 $threshold | toString) (float64 $threshold | toString) (eq (float64 $threshold) (floor $threshold)) -}}
{{- $annotations := pick $alert "runbook" -}}
{{- range $name := list "summary" "description" -}}
{{- $text := get $alert $name | replace "{value}" "{{ $value | humanize }}" -}}
{{- $_ := set $annotations $name (replace "{duration}" "{{ $value | humanizeDuration }}" $text) -}}
{{- end -}}
{{- $_ := set $alerts .name (dict "expr" (replace "{threshold}" $number .prometheus.query) "annotations" $annotations) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $alerts -}}
{{- end }}

{{/* A span, such as 1h 30m, in seconds. */}}
{{- define "koh.seconds" -}}
{{- $seconds := 0 -}}
{{- range regexFindAll "[0-9]+(ms|s|m|h|d)" . -1 -}}
{{- $unit := regexFind "[a-z]+" . -}}
{{- $seconds = add $seconds (mul (trimSuffix $unit . | atoi) (get (dict "ms" 0 "s" 1 "m" 60 "h" 3600 "d" 86400) $unit)) -}}
{{- end -}}
{{- $seconds -}}
{{- end }}
