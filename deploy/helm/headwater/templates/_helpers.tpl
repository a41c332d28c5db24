{{- define "headwater.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The headless Service: one name that stands for all nodes. */}}
{{- define "headwater.nodes" -}}
{{ include "headwater.fullname" . }}-nodes
{{- end -}}

{{- define "headwater.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "headwater.labels" -}}
{{ include "headwater.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/part-of: headwater
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{- define "headwater.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "headwater.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "headwater.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* A TOML value. Helm reads numbers as floats, and its toToml would write them as such. A JSON string is a TOML string. */}}
{{- define "headwater.tomlValue" -}}
{{- if kindIs "map" . -}}
{ {{- range $index, $key := keys . | sortAlpha }}{{ if $index }},{{ end }} {{ $key | toJson }} = {{ include "headwater.tomlValue" (get $ $key) }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{ range $index, $item := . }}{{ if $index }}, {{ end }}{{ include "headwater.tomlValue" $item }}{{ end }}]
{{- else if kindIs "float64" . -}}
{{ if eq (float64 (int64 .)) . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end -}}

{{/* What a role's own settings come to. Of: root, role ("data" or "broker"). */}}
{{- define "headwater.settings" -}}
{{- $values := .root.Values -}}
{{- $own := get $values .role -}}
{{- $any := ternary "[::]" "0.0.0.0" (eq $values.ipFamily "IPv6") -}}
{{- $settings := mergeOverwrite (deepCopy $values.config) (deepCopy (default dict $own.config)) -}}
{{- $reserved := dict "http" (list "listen" "plaintext_public") "postgres" (list "listen") "flight" (list "listen" "plaintext_public") "access" (list "file" "anonymous") "tls" (list "cert" "key") "store" (list "url" "options") "resident" (list "dir") "query" (list "spill_dir") -}}
{{- if hasKey $settings "cluster" -}}
{{- fail "config.cluster is set by the chart; see the values under cluster" -}}
{{- end -}}
{{- range $section, $keys := $reserved -}}
{{- range $key := $keys -}}
{{- if hasKey (get $settings $section | default dict) $key -}}
{{- fail (printf "config.%s.%s is set by the chart" $section $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $chart := dict
  "http" (dict "listen" (printf "%s:%d" $any (int $values.ports.http)))
  "store" (dict "url" (required "store.url is required: s3://bucket/prefix" $values.store.url) "options" $values.store.options)
  "query" (dict "spill_dir" "/var/lib/headwater/spill")
  "cluster" (dict
    "role" .role
    "name" ($values.cluster.name | default (printf "%s/%s" .root.Release.Namespace .root.Release.Name))
    "listen" (printf "%s:%d" $any (int $values.ports.rpc))
    "gossip_listen" (printf "%s:%d" $any (int $values.ports.gossip))
    "seeds" (list (printf "%s.%s.svc:%d" (include "headwater.nodes" .root) .root.Release.Namespace (int $values.ports.gossip)))
    "secret" (dict "file" "/run/secrets/headwater/cluster"))
-}}
{{- if $values.access.existingSecret -}}
{{- if and (not $values.tls.existingSecret) (not $values.tls.endsAtProxy) -}}
{{- fail "passwords and tokens would cross the network in clear: set tls.existingSecret, or tls.endsAtProxy if a proxy before the Service ends TLS" -}}
{{- end -}}
{{- $_ := set $chart "access" (dict "file" "/run/secrets/headwater-access/access.toml") -}}
{{- else -}}
{{- $_ := set $chart "access" (dict "anonymous" (required "access.existingSecret is required, a Secret with users and tokens; or access.anonymous, with the words that its description names" $values.access.anonymous)) -}}
{{- end -}}
{{- if $values.tls.existingSecret -}}
{{- $_ := set $chart "tls" (dict "cert" "/run/secrets/headwater-tls/tls.crt" "key" "/run/secrets/headwater-tls/tls.key") -}}
{{- else if $values.tls.endsAtProxy -}}
{{- $_ := set $chart.http "plaintext_public" true -}}
{{- end -}}
{{- if $values.cluster.tls.existingSecret -}}
{{- $files := "/run/secrets/headwater-cluster-tls" -}}
{{- $_ := set $chart.cluster "tls" (dict "cert" (printf "%s/tls.crt" $files) "key" (printf "%s/tls.key" $files) "ca" (printf "%s/ca.crt" $files) "name" $values.cluster.tls.name) -}}
{{- end -}}
{{- if and (eq .role "broker") $values.postgres.enabled -}}
{{- if and $values.access.existingSecret (not $values.tls.existingSecret) -}}
{{- fail "postgres.enabled needs tls.existingSecret: passwords are taken over TLS only there, and no proxy can end it" -}}
{{- end -}}
{{- $_ := set $chart "postgres" (dict "listen" (printf "%s:%d" $any (int $values.ports.postgres))) -}}
{{- end -}}
{{- if and (eq .role "broker") $values.flight.enabled -}}
{{- $_ := set $chart "flight" (dict "listen" (printf "%s:%d" $any (int $values.ports.flight))) -}}
{{- if and $values.tls.endsAtProxy (not $values.tls.existingSecret) -}}
{{- $_ := set $chart.flight "plaintext_public" true -}}
{{- end -}}
{{- end -}}
{{- if eq .role "data" -}}
{{- $_ := set $chart "resident" (dict "dir" "/var/lib/headwater/resident") -}}
{{- end -}}
{{- $settings = mergeOverwrite $settings $chart -}}
{{- include "headwater.checkDisk" (dict "role" .role "size" $own.size "settings" $settings) -}}
{{- toJson $settings -}}
{{- end -}}

{{/* Files that outgrow an emptyDir get the pod evicted: what they may come to must fit. Of: role, size, settings. */}}
{{- define "headwater.checkDisk" -}}
{{- $unit := get (dict "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776) (regexFind "[MGT]i$" .size) -}}
{{- if and $unit (regexMatch "^[0-9]+[MGT]i$" .size) -}}
{{- $resident := get (get .settings "resident" | default dict) "disk_bytes_max" | default 107374182400 -}}
{{- $spill := get .settings.query "spill_bytes_max" | default 34359738368 -}}
{{- $needed := add (int64 $spill) (ternary (int64 $resident) 0 (eq .role "data")) -}}
{{- if gt $needed (mul (int64 (regexFind "^[0-9]+" .size)) $unit) -}}
{{- fail (printf "%s.size is %s, but files may come to %d bytes: lower query.spill_bytes_max or resident.disk_bytes_max in %s.config" .role .size $needed .role) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A role's headwater.toml. */}}
{{- define "headwater.toml" -}}
{{- $settings := include "headwater.settings" . | fromJson -}}
{{- range $section := keys $settings | sortAlpha }}
[{{ $section }}]
{{- range $key := keys (get $settings $section) | sortAlpha }}
{{ $key }} = {{ include "headwater.tomlValue" (get (get $settings $section) $key) }}
{{- end }}
{{ end -}}
{{- end -}}

{{/* Seconds until a pod is killed: queries may take all of ingest.shutdown_wait_ms, handing over may after them, and sealing then. */}}
{{- define "headwater.graceSeconds" -}}
{{- $settings := include "headwater.settings" . | fromJson -}}
{{- $wait := get (get $settings "ingest" | default dict) "shutdown_wait_ms" | default 30000 -}}
{{- add (mul 3 (div (add (int64 $wait) 999) 1000)) 20 (ternary .root.Values.broker.preStopSeconds 0 (eq .role "broker")) -}}
{{- end -}}

{{/* The pod of a role. Of: root, role. */}}
{{- define "headwater.pod" -}}
{{- $values := .root.Values -}}
{{- $own := get $values .role -}}
{{- $role := .role -}}
{{- $scheme := ternary "HTTPS" "HTTP" (not (empty $values.tls.existingSecret)) -}}
{{- $ip := ternary "[$(POD_IP)]" "$(POD_IP)" (eq $values.ipFamily "IPv6") -}}
metadata:
  labels:
    {{- include "headwater.selectorLabels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
    headwater/node: "true"
    {{- with $own.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ include "headwater.toml" . | sha256sum }}
    {{- if $values.metrics.annotations }}
    prometheus.io/scrape: "true"
    prometheus.io/port: {{ $values.ports.http | quote }}
    prometheus.io/path: /metrics
    {{- if $values.tls.existingSecret }}
    prometheus.io/scheme: https
    {{- end }}
    {{- end }}
    {{- with $own.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "headwater.serviceAccountName" .root }}
  automountServiceAccountToken: false
  # Otherwise Kubernetes sets HEADWATER_SERVICE_HOST and the like, and a node refuses settings that it does not know.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "headwater.graceSeconds" . }}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- toYaml $values.podSecurityContext | nindent 4 }}
  containers:
    - name: headwater
      image: {{ include "headwater.image" .root }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [start, --config, /etc/headwater/headwater.toml]
      securityContext:
        {{- toYaml $values.securityContext | nindent 8 }}
      env:
        - name: POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: POD_IP
          valueFrom: {fieldRef: {fieldPath: status.podIP}}
        - name: HEADWATER_CLUSTER_NODE_ID
          value: $(POD_NAME)
        - name: HEADWATER_CLUSTER_ADVERTISE
          {{- if and (eq .role "data") (eq $values.cluster.advertise "podName") }}
          value: $(POD_NAME).{{ include "headwater.nodes" .root }}.{{ .root.Release.Namespace }}.svc:{{ $values.ports.rpc }}
          {{- else }}
          value: {{ printf "%s:%d" $ip (int $values.ports.rpc) | quote }}
          {{- end }}
        # Gossip tells addresses: this one needs no DNS, which does not know a pod in its first moments.
        - name: HEADWATER_CLUSTER_GOSSIP_ADVERTISE
          value: {{ printf "%s:%d" $ip (int $values.ports.gossip) | quote }}
        - name: HEADWATER_CLUSTER_ZONE
          {{- if $values.cluster.zone }}
          value: {{ $values.cluster.zone | quote }}
          {{- else }}
          valueFrom: {fieldRef: {fieldPath: "metadata.labels['topology.kubernetes.io/zone']"}}
          {{- end }}
        {{- with $values.store.existingSecret }}
        - name: AWS_ACCESS_KEY_ID
          valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $values.store.accessKeyIdKey }}}}
        - name: AWS_SECRET_ACCESS_KEY
          valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $values.store.secretAccessKeyKey }}}}
        {{- end }}
        {{- range $values.extraEnv }}
        {{- if hasPrefix "HEADWATER_" .name }}
        {{- fail (printf "extraEnv: %s: settings belong into config" .name) }}
        {{- end }}
        {{- toYaml (list .) | nindent 8 }}
        {{- end }}
      {{- with $values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: http, containerPort: {{ $values.ports.http }}, protocol: TCP}
        - {name: rpc, containerPort: {{ $values.ports.rpc }}, protocol: TCP}
        - {name: gossip, containerPort: {{ $values.ports.gossip }}, protocol: UDP}
        {{- if and (eq .role "broker") $values.postgres.enabled }}
        - {name: postgres, containerPort: {{ $values.ports.postgres }}, protocol: TCP}
        {{- end }}
        {{- if and (eq .role "broker") $values.flight.enabled }}
        - {name: flight, containerPort: {{ $values.ports.flight }}, protocol: TCP}
        {{- end }}
      startupProbe:
        httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}
        {{- toYaml $values.probes.startup | nindent 8 }}
      livenessProbe:
        httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}
        {{- toYaml $values.probes.liveness | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: http, scheme: {{ $scheme }}}
        {{- toYaml $values.probes.readiness | nindent 8 }}
      {{- if and (eq .role "broker") $own.preStopSeconds }}
      lifecycle:
        preStop:
          exec: {command: [sleep, {{ $own.preStopSeconds | quote }}]}
      {{- end }}
      resources:
        {{- toYaml $own.resources | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/headwater, readOnly: true}
        - {name: cluster-secret, mountPath: /run/secrets/headwater, readOnly: true}
        {{- if $values.cluster.tls.existingSecret }}
        - {name: cluster-tls, mountPath: /run/secrets/headwater-cluster-tls, readOnly: true}
        {{- end }}
        {{- if $values.access.existingSecret }}
        - {name: access, mountPath: /run/secrets/headwater-access, readOnly: true}
        {{- end }}
        {{- if $values.tls.existingSecret }}
        - {name: tls, mountPath: /run/secrets/headwater-tls, readOnly: true}
        {{- end }}
        - {name: data, mountPath: /var/lib/headwater}
        - {name: tmp, mountPath: /tmp}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "headwater.fullname" .root }}
        items: [{key: {{ .role }}.toml, path: headwater.toml}]
    - name: cluster-secret
      secret:
        secretName: {{ required "cluster.existingSecret is required: the name of a Secret with what all nodes share" $values.cluster.existingSecret }}
        defaultMode: 0440
        items: [{key: {{ $values.cluster.secretKey }}, path: cluster}]
    {{- with $values.cluster.tls.existingSecret }}
    - name: cluster-tls
      secret:
        secretName: {{ . }}
        defaultMode: 0440
        items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}, {key: ca.crt, path: ca.crt}]
    {{- end }}
    {{- with $values.access.existingSecret }}
    - name: access
      secret:
        secretName: {{ . }}
        defaultMode: 0440
        items: [{key: {{ $values.access.secretKey }}, path: access.toml}]
    {{- end }}
    {{- with $values.tls.existingSecret }}
    - name: tls
      secret:
        secretName: {{ . }}
        defaultMode: 0440
        items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]
    {{- end }}
    - name: tmp
      emptyDir: {sizeLimit: 1Gi}
    {{- if not (and (eq .role "data") $values.data.persistence.enabled) }}
    - name: data
      emptyDir: {sizeLimit: {{ $own.size }}}
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $own.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $own.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- $labels := include "headwater.selectorLabels" .root | fromYaml }}
    {{- range $own.topologySpreadConstraints }}
    {{- $selector := dict "labelSelector" (dict "matchLabels" (merge (dict "app.kubernetes.io/component" $role) $labels)) }}
    {{- toYaml (list (merge (deepCopy .) $selector)) | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end -}}
