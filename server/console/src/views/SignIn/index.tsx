import { type FormEvent, useState } from "react";
import { errorDetails } from "../../api/client";
import { signIn } from "../../api/session";
import type { ErrorDetails } from "../../api/types";
import { Button } from "../../components/Button";
import { ErrorBox } from "../../components/ErrorBox";

export default function SignIn() {
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const [error, setError] = useState<ErrorDetails | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    try {
      await signIn(user, password);
    } catch (failure) {
      setError(errorDetails(failure));
      setBusy(false);
    }
  };
  return (
    <div className="sign-in">
      <form onSubmit={submit}>
        <h1>Sign in</h1>
        <label className="field">
          <span>User</span>
          <input className="input" name="user" autoComplete="username" autoFocus required value={user} onChange={(event) => setUser(event.target.value)} />
        </label>
        <label className="field">
          <span>Password</span>
          <input className="input" name="password" type="password" autoComplete="current-password" required value={password} onChange={(event) => setPassword(event.target.value)} />
        </label>
        {error && <ErrorBox error={error} />}
        <Button kind="primary" type="submit" disabled={busy}>
          Sign in
        </Button>
      </form>
    </div>
  );
}
