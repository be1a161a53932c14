// SPDX-License-Identifier: Apache-2.0

import Sandbox
import Testing
import Trace
import VMM

/// The program's command line. The tests are skipped if only the tests have been built.
@Suite(.enabled(if: Program.isBuilt, "the program sluice is not beside the tests"))
struct ProgramTests {
  @Test("--print-seccomp prints the table of rules")
  func printSeccomp() async throws {
    let result = try await Program.run(["run", "--print-seccomp"])
    #expect(result.status == 0)
    #expect(result.output == Rule.describe(Rule.machine(.type1), LayerChoice()))
    #expect(result.messages == "")
  }

  @Test("--print-seccomp --sandbox off prints only the remaining layers")
  func printSeccompOff() async throws {
    let result = try await Program.run(["run", "--print-seccomp", "--sandbox", "off"])
    #expect(result.status == 0)
    #expect(result.output == "# \(Layer.guestMemory.rawValue): \(Layer.guestMemory.text)\n")
  }

  @Test(
    "wrong usage ends with status 2 and a remedy on standard error",
    arguments: [
      (["run"], "--kernel: no file; give the kernel"), (["run", "--kernl", "x"], "Unknown option '--kernl'"),
      (["run", "--cpus", "0", "--no-such"], "Unknown option '--no-such'"),
      (["run", "--memory", "0", "--kernel", "k", "extra"], "extra"),
      (
        ["run", "--kernel", "k", "--memory", "0"],
        "--memory: 0 bytes: a guest needs at least 2M; give a larger size"
      ),
      (["run", "--kernel", "k", "--cpus", "0"], "--cpus: 0 is not between 1 and 255"),
      (["run", "--kernel", "k", "--device", "x"], "--device"), (["no-such-command"], "no-such-command"),
      (["bind"], "address"), (["unbind"], "address"), (["timeline"], "trace"),
      (["timeline", "t"], "--output"),
      (["bind", "--no-such"], "'--no-such'"), (["unbind", "--no-such"], "'--no-such'"),
      (["timeline", "--no-such"], "'--no-such'"), (["bind", "x"], "x"),
      (["devices", "--no-such"], "--no-such"),
    ] as [([String], String)])
  func usage(_ arguments: [String], _ text: String) async throws {
    let result = try await Program.run(arguments)
    #expect(result.status == 2)
    #expect(result.output == "")
    #expect(result.messages.contains(text))
  }

  @Test("a failure ends with status 1 and one line with the cause")
  func failure() async throws {
    let result = try await Program.run(["bind", "fffe:ff:1f.7"])
    #expect(result.status == 1)
    #expect(
      result.messages
        == "sluice: device fffe:ff:1f.7: the host has no PCI device there; type 'sluice devices' to list them\n"
    )
  }

  @Test("--help and --version end with status 0", arguments: [["--help"], ["run", "--help"], ["--version"]])
  func help(_ arguments: [String]) async throws {
    let result = try await Program.run(arguments)
    #expect(result.status == 0)
    #expect(result.messages == "")
    #expect(arguments == ["--version"] || result.output.contains("EXAMPLES:"))
  }
}
