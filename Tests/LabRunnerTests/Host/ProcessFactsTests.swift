// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import LabRunner

/// The facts that `bench` observes about a process.
@Suite struct ProcessFactsTests {
  @Test("counts calls by kind, and ignores signals and exits")
  func calls() {
    let counts = CallCounts(
      thread: """
        openat(0xffffff9c, "/dev/kvm", 0x2) = 3
        ioctl(5, 0xae80, 0)                 = 0
        ioctl(5, 0xae80, 0)                 = -1 (errno 4)
        --- SIGUSR1 {si_signo=SIGUSR1} ---
        ioctl(3, 0xae01, 0)                 = 4
        +++ exited with 0 +++
        """)
    #expect((counts.all, counts.ioctls, counts.runs) == (4, 3, 2))
    #expect((counts + counts).runs == 4)
  }

  @Test("adds the calls of all threads of one name in a histogram")
  func histogram() throws {
    let text = """
      # trigger info: hist:keys=common_pid.execname:vals=hitcount:sort=hitcount:size=2048 [active]

      { common_pid: sluice          [       345] } hitcount:        118
      { common_pid: vcpu0           [       347] } hitcount:          7
      { common_pid: vcpu01          [       348] } hitcount:         50
      { common_pid: vcpu0           [       351] } hitcount:       2094

      Totals:
          Hits: 2269
      """
    #expect(try CallProbes.count(text, of: "vcpu0") == 2101)
    #expect(try CallProbes.count(text, of: "pin0") == 0)
  }

  @Test("a large mapping is guest RAM, whatever its name is")
  func maps() {
    let maps = MemoryMaps(
      smaps: """
        7f00-7f10 rw-p 00000000 00:00 0
        Size:             524288 kB
        KernelPageSize:        4 kB
        Rss:              524000 kB
        Pss:              524000 kB
        7f20-7f21 r-xp 00000000 00:00 0    /usr/bin/x
        Size:               2048 kB
        Rss:                1500 kB
        7f30-7f31 rw-p 00000000 00:00 0    [heap]
        Size:                128 kB
        Rss:                  12 kB
        """)
    #expect((maps.guestRAM, maps.rest) == (524_000, 1512))
  }

  @Test("each mapping has an owner, and zeroed variables follow a program's data")
  func owners() {
    let rows: [(String, MemoryMaps.Owner)] = [
      ("200000-22f000 r--p 00000000 00:1f 7 /usr/bin/x", .code),
      ("22f000-8a5000 r-xp 0002e000 00:1f 7 /usr/bin/x", .code),
      ("8e8000-9bf000 rw-p 006e5000 00:1f 7 /usr/bin/x", .data),
      ("9bf000-a23000 rw-p 00000000 00:00 0", .data),
      ("a23000-a44000 rw-p 00000000 00:00 0 [heap]", .heap),
      ("b00000-b21000 rw-p 00000000 00:00 0", .anonymous),
      ("c00000-c01000 rw-s 00000000 00:0e 9 anon_inode:kvm-vcpu:0", .shared),
    ]
    for (index, row) in rows.enumerated() {
      let text = rows.enumerated().map { "\($1.0)\nSize: 4 kB\nRss: \($0 == index ? 3 : 0) kB\n" }.joined()
      #expect(MemoryMaps(smaps: text).owners.filter { $0.value > 0 } == [row.1: 3], "\(row.0)")
    }
  }

  @Test("reads a file of /proc to its end, to the line VmFlags of the last mapping")
  func procFile() throws {
    let text = try ProcFile.text("/proc/self/smaps")
    #expect(text.utf8.count > 8192)
    #expect(text.split(separator: "\n").last?.hasPrefix("VmFlags:") == true)
    #expect(MemoryMaps(smaps: text).rest > 1000)
  }

  private func launch(_ script: String, marks: [String] = [], seconds: Int = 10) throws -> Launch {
    let messages = FileManager.default.temporaryDirectory.appending(path: "launch-\(UUID().uuidString)")
    defer { try? messages.removeIfPresent() }  // only a leftover
    return try Launch(["sh", "-c", script], messages: messages, marks: marks, within: .seconds(seconds))
  }

  @Test("a launch records its times in order, its output and its status")
  func times() throws {
    let launch = try launch("echo one; sleep 0.2; echo two; sleep 0.2; exit 3", marks: ["one", "two"])
    #expect(launch.status == 3)
    #expect(launch.output == "one\ntwo\n")
    #expect(launch.firstByte == launch.marks[0])
    #expect(launch.marks[1] - launch.marks[0] > .milliseconds(150))
    #expect(launch.lastByte == launch.marks[1])
    #expect(launch.end - launch.lastByte > .milliseconds(150))
    #expect(launch.peak > 0)
  }

  @Test("reports a signal as a shell does")
  func signal() throws { #expect(try launch("kill -9 $$").status == 137) }

  @Test("a missing text is a failure with the program's message")
  func absent() {
    #expect {
      try launch("echo one; echo why >&2", marks: ["two"])
    } throws: {
      "\($0)" == "the output has no 'two' (status 0): why"
    }
  }

  @Test("kills a program that does not end in time")
  func endless() {
    #expect(throws: Failed.self) { try launch("exec sleep 60", seconds: 1) }
  }

  @Test("a guest has ended after it wrote its last text")
  func ended() {
    let guest = BenchGuest(image: .small("Bench"))
    #expect(guest.hasEnded("ok - 5 accesses\ndone 1\n"))
    #expect(!guest.hasEnded("") && !guest.hasEnded("ok - 5 accesses\n"))
    #expect(BenchGuest(image: .first).hasEnded("!") && !BenchGuest(image: .first).hasEnded(""))
    let linux = BenchGuest(image: .linux(steps: []))
    #expect(linux.hasEnded("lab: init\nlab: end\n") && !linux.hasEnded("lab: init\n"))
  }
}
