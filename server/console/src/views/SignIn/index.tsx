import { useEffect, useState } from "react";
import { errorDetails } from "../../api/client";
import { followOtherWindows, signIn } from "../../api/session";
import { Button } from "../../components/Button";
import { ErrorBox } from "../../components/ErrorBox";
import { useSending } from "../../hooks";

export default function SignIn() {
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  useEffect(followOtherWindows, []);
  const { busy, error, submit } = useSending(true, () => signIn(user, password));
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
        {error !== null && <ErrorBox error={errorDetails(error)} />}
        <Button kind="primary" type="submit" busy={busy}>
          Sign in
        </Button>
      </form>
    </div>
  );
}
